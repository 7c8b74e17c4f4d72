package door

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// ErrHostKey is returned for a host key file that cannot be used.
var ErrHostKey = errors.New("unusable host key")

// HostKey reads the server's private key from a file in OpenSSH's format. If
// there is none it makes an ed25519 key and stores it for its owner alone; made
// is then true. It refuses a key that others can read, as OpenSSH does.
func HostKey(path string) (key ssh.Signer, made bool, err error) {
	text, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(path); err != nil {
			return nil, false, fmt.Errorf("door: make host key: %w", err)
		}
		made = true
		text, err = readKey(path)
	}
	if err != nil {
		return nil, false, fmt.Errorf("door: read host key: %w", err)
	}
	key, err = ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, false, fmt.Errorf("door: host key %s: %w: %w", path, ErrHostKey, err)
	}
	return key, made, nil
}

func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s has mode %v (try: chmod 600 %s)", ErrHostKey, path, info.Mode(), path)
	}
	return os.ReadFile(path)
}

// makeKey stores a new key whole or not at all, and never over another: two
// services that start at once use the same.
func makeKey(path string) error {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "picloud")
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".host-key-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(pem.EncodeToMemory(block))
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
