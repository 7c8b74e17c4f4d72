package command

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// keyed are the commands that take --key.
var keyed = []string{"operator", "order", "server"}

// withKeys puts what the files of --key hold in the place of their names, for
// the service reads no files of those who ask it. What names no file is sent
// as it is: a key's own line.
func withKeys(args []string) ([]string, error) {
	noun := slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") })
	if noun < 0 || !slices.Contains(keyed, args[noun]) {
		return args, nil
	}
	const flag = "--key"
	out := append([]string(nil), args...)
	for i := 1; i < len(out); i++ {
		if name, ok := strings.CutPrefix(out[i], flag+"="); ok {
			text, err := keyFile(name)
			if err != nil {
				return nil, err
			}
			out[i] = flag + "=" + text
		} else if out[i] == flag && i+1 < len(out) {
			i++
			text, err := keyFile(out[i])
			if err != nil {
				return nil, err
			}
			out[i] = text
		}
	}
	return out, nil
}

// keyFile reads a file of public keys, or returns what is a key already.
func keyFile(name string) (string, error) {
	if strings.Contains(name, " ") {
		return name, nil
	}
	const most = 64 << 10
	info, err := os.Stat(name)
	if err != nil {
		return "", fmt.Errorf("read the key: %w", err)
	}
	if info.Size() > most || !info.Mode().IsRegular() {
		return "", fmt.Errorf("read the key: %s is no file of public keys", name)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read the key: %w", err)
	}
	if strings.Contains(string(b), "PRIVATE KEY") {
		return "", fmt.Errorf("read the key: %s is a private key: give its .pub file", name)
	}
	return string(b), nil
}
