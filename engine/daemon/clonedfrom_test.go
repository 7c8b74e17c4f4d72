package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"picloud/netboot/bootfs"
)

// TestClonedFrom: what a customer puts in the stamp's place is not opened if it
// is no file. A pipe would never be read to its end here.
func TestClonedFrom(t *testing.T) {
	for name, tt := range map[string]struct {
		plant func(p string) error
		want  string
		err   error
	}{
		"a stamp":  {func(p string) error { return os.WriteFile(p, []byte(`{"name":"lite"}`), 0o600) }, "lite", nil},
		"none":     {func(string) error { return nil }, "", fs.ErrNotExist},
		"a pipe":   {func(p string) error { return unix.Mkfifo(p, 0o600) }, "", bootfs.ErrNotRegular},
		"a folder": {func(p string) error { return os.Mkdir(p, 0o700) }, "", bootfs.ErrNotRegular},
		"a link to a pipe": {func(p string) error {
			return errors.Join(unix.Mkfifo(p+".pipe", 0o600), os.Symlink(filepath.Base(p)+".pipe", p))
		}, "", bootfs.ErrNotRegular},
		"a link out": {func(p string) error { return os.Symlink("/etc/passwd", p) }, "", bootfs.ErrLink},
		"a device": {func(p string) error {
			if os.Geteuid() != 0 {
				return errors.ErrUnsupported
			}
			return unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))) // zero
		}, "", bootfs.ErrNotRegular},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := filepath.Join(dir, imageStamp)
			if err := os.Mkdir(filepath.Dir(p), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := tt.plant(p); errors.Is(err, errors.ErrUnsupported) {
				t.Skip("only root may make a device node")
			} else if err != nil {
				t.Fatal(err)
			}
			if got, err := clonedFrom(dir); got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%q, %v; want %q, %v", got, err, tt.want, tt.err)
			}
		})
	}
}
