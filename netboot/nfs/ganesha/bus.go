package ganesha

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const busDaemon = "dbus-daemon"

// bus is a D-Bus that only the server and we are on.
type bus struct{ dir, socket, config string }

func newBus(dir string) *bus {
	return &bus{dir: dir, socket: filepath.Join(dir, "bus"), config: filepath.Join(dir, "bus.conf")}
}

func (b *bus) address() string { return "unix:path=" + b.socket }

// busConfig lets this user and root, as whom the server runs, do everything, and nobody else anything; nobody
// else gets at the socket in the first place.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
 <type>system</type>
 <listen>%s</listen>
 <auth>EXTERNAL</auth>
 <policy context="default"><allow user="*"/><deny own="*"/><deny send_type="method_call"/></policy>
 <policy user="%d"><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
 <policy user="root"><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>
`

func (b *bus) writeConfig() error {
	return os.WriteFile(b.config, fmt.Appendf(nil, busConfig, b.address(), os.Geteuid()), 0o600)
}

// errRefused is what the server said no to.
var errRefused = errors.New("nfs-ganesha refused")

const callTimeout = 30 * time.Second

// call calls a method of org.ganesha.nfsd.exportmgr.
func (b *bus) call(ctx context.Context, method string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, fmt.Errorf("nfs-ganesha did not answer within %v", callTimeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, "dbus-send", append([]string{
		"--bus=" + b.address(), "--print-reply", "--reply-timeout=" + strconv.FormatInt(callTimeout.Milliseconds(), 10),
		"--dest=org.ganesha.nfsd", "/org/ganesha/nfsd/ExportMgr", "org.ganesha.nfsd.exportmgr." + method,
	}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = time.Second
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		said := strings.Join(strings.Fields(complaints.String()), " ")
		return "", fmt.Errorf("%w: %s: %s", errRefused, method, said[:min(len(said), 1024)])
	}
	return out.String(), nil
}

func (b *bus) addExport(ctx context.Context, config string, number uint32) error {
	_, err := b.call(ctx, "AddExport", "string:"+config, fmt.Sprintf("string:EXPORT(Export_Id=%d)", number))
	return err
}

// removeExport withdraws an export. One that is not there is no error.
func (b *bus) removeExport(ctx context.Context, number uint32) error {
	_, err := b.call(ctx, "RemoveExport", fmt.Sprintf("uint16:%d", number))
	if err == nil {
		return nil
	}
	published, listErr := b.exports(ctx)
	if listErr == nil && !published[number] {
		return nil
	}
	return err
}

// exports are the numbers of the exports that the server has.
func (b *bus) exports(ctx context.Context) (map[uint32]bool, error) {
	out, err := b.call(ctx, "ShowExports")
	if err != nil {
		return nil, err
	}
	return parseExports(out), nil
}

// parseExports reads a reply of ShowExports as dbus-send prints it: each export
// is a struct that begins with its number and its path.
func parseExports(out string) map[uint32]bool {
	found := map[uint32]bool{}
	for line := range strings.Lines(out) {
		if word, ok := strings.CutPrefix(strings.TrimSpace(line), "uint16 "); ok {
			if n, err := strconv.ParseUint(word, 10, 16); err == nil && n != 0 { // 0 is the server's own, of NFSv4
				found[uint32(n)] = true
			}
		}
	}
	return found
}
