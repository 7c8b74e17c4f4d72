package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"picloud/engine/config"
	"picloud/netboot/rootfs/image"
)

// TestAddImageClosesState: the first that makes the state folder may be another
// than the service.
func TestAddImageClosesState(t *testing.T) {
	former := syscall.Umask(0)
	t.Cleanup(func() { syscall.Umask(former) })
	source := rootTarball(t)
	for name, mode := range map[string]fs.FileMode{"new": 0, "open": 0o711, "wide open": 0o777} {
		cfg := config.Default()
		cfg.State = filepath.Join(t.TempDir(), "state")
		if mode != 0 {
			if err := os.Mkdir(cfg.State, mode); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := AddImage(t.Context(), cfg, image.Options{Name: "one", Source: source}, 0); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, sub := range []string{".", "images", "volumes", "snapshots"} {
			if info, err := os.Stat(filepath.Join(cfg.State, sub)); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %s: %v, %v", name, sub, info.Mode(), err)
			}
		}
	}
}

func TestCloseState(t *testing.T) {
	for name, tt := range map[string]struct {
		mode, want fs.FileMode
		err        error
	}{
		"closed":                {0o700, 0o700, nil},
		"an admin's group":      {0o750, 0o750, nil},
		"a group that writes":   {0o770, 0o700, nil},
		"open":                  {0o755, 0o700, nil},
		"a folder of everybody": {0o777 | fs.ModeSticky, 0o777, errOpenState},
	} {
		dir := t.TempDir()
		if err := os.Chmod(dir, tt.mode); err != nil {
			t.Fatal(err)
		}
		err := closeState(dir)
		info, statErr := os.Stat(dir)
		if !errors.Is(err, tt.err) || statErr != nil || info.Mode().Perm() != tt.want {
			t.Errorf("%s: %v, mode %v; want %v, %v", name, err, info.Mode(), tt.err, tt.want)
		}
		if err != nil && !strings.Contains(err.Error(), "set state to a folder of its own") {
			t.Errorf("%s: no remedy: %v", name, err)
		}
	}
}

// TestCloseStateOfAnother runs as another user than the folder's.
func TestCloseStateOfAnother(t *testing.T) {
	dir := "/usr"
	if info, err := os.Stat(dir); err != nil || os.Geteuid() == 0 || info.Sys().(*syscall.Stat_t).Uid == uint32(os.Geteuid()) {
		t.Skip("this user may change every folder")
	}
	if err := closeState(dir); !errors.Is(err, errOpenState) || !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "(chmod 700 "+dir+")") {
		t.Error(err)
	}
}
