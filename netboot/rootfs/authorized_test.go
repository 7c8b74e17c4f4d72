package rootfs

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// tree is every file of a root with its content, and every other thing with its
// kind.
func tree(t *testing.T, top string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		all[strings.TrimPrefix(p, top)] = d.Type().String()
		if d.Type().IsRegular() {
			all[strings.TrimPrefix(p, top)] = read(t, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// keyFiles are what SetKeys writes in a root with the first user pi.
var keyFiles = []string{"/root/.ssh/authorized_keys", "/home/pi/.ssh/authorized_keys"}

// SetKeys changes the two files and nothing else of a root that is its owner's.
func TestSetKeys(t *testing.T) {
	top := withUser(t)
	if err := Personalise(top, whole()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(top, "etc/hostname"), []byte("as-they-like\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, keys := range [][]string{{realKey, rsaKey(2048)}, {realKey}, {realKey}, nil, {ed25519Key + "\r\n"}} {
		want := tree(t, top)
		text := ""
		for _, k := range keys {
			text += strings.TrimSpace(k) + "\n"
		}
		for _, name := range keyFiles {
			want[name] = text
		}
		if err := SetKeys(top, keys); err != nil {
			t.Fatal(err)
		}
		if got := tree(t, top); !maps.Equal(got, want) {
			t.Errorf("after %q the root is %v, want %v", keys, got, want)
		}
	}
	for name, uid := range map[string]uint32{"root/.ssh": 0, "root/.ssh/authorized_keys": 0, "home/pi/.ssh": 1000, "home/pi/.ssh/authorized_keys": 1000} {
		info, err := os.Lstat(filepath.Join(top, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Fatalf("%s: %v, %v", name, info, err)
		}
		if st := info.Sys().(*syscall.Stat_t); os.Getuid() == 0 && st.Uid != uid {
			t.Errorf("%s belongs to %d", name, st.Uid)
		}
	}
}

func TestSetKeysInvalid(t *testing.T) {
	top := withUser(t)
	if err := SetKeys(top, []string{realKey}); err != nil {
		t.Fatal(err)
	}
	want := tree(t, top)
	for _, keys := range [][]string{
		{ed25519Key, `command="x" ` + ed25519Key}, {ed25519Key + "\n" + ed25519Key}, {""}, make([]string, maxKeys+1),
	} {
		if err := SetKeys(top, keys); !errors.Is(err, ErrInvalidPerson) || len(err.Error()) > 500 {
			t.Errorf("%.80q: %v", keys, err)
		}
	}
	if got := tree(t, top); !maps.Equal(got, want) {
		t.Errorf("written all the same: %v", got)
	}
	if err := SetKeys(filepath.Join(top, "none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

func TestSetKeysHostile(t *testing.T) {
	springTraps(t, func(t *testing.T, top string) {
		if err := SetKeys(top, []string{ed25519Key}); err != nil {
			t.Fatal(err)
		}
		if got := read(t, top, "root/.ssh/authorized_keys"); got != ed25519Key+"\n" {
			t.Errorf("%q", got)
		}
	})
}

// The Pi has its root mounted and may change it at any moment: what it puts in
// the way, in the middle of the writing, does not lead out of the root.
func TestSetKeysOfARootInUse(t *testing.T) {
	top := withUser(t)
	outside := filepath.Join(filepath.Dir(top), "outside")
	for _, d := range []string{".ssh", "pi/.ssh"} {
		if err := os.MkdirAll(filepath.Join(outside, d), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(outside, d, "authorized_keys"), []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := tree(t, outside)
	// The Pi cannot leave its export either: what it does goes through a root.
	pi, err := os.OpenRoot(top)
	if err != nil {
		t.Fatal(err)
	}
	defer pi.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, place := range []string{"root/.ssh", "root/.ssh/authorized_keys", "home/pi", "home/pi/.ssh", "home"} {
		wg.Go(func() {
			for ctx.Err() == nil { // the errors are the race's
				_ = pi.Rename(place, place+"-away")
				_ = pi.Symlink(outside, place)
				_ = pi.Remove(place)
				_ = pi.RemoveAll(place + "-away")
				_ = pi.MkdirAll(place, 0o755)
			}
		})
	}
	done := 0
	for range 300 {
		if err := SetKeys(top, []string{ed25519Key}); err == nil { // else it was disturbed
			done++
		}
	}
	cancel()
	wg.Wait()
	t.Logf("%d of 300 were not disturbed", done)
	if got := tree(t, outside); !maps.Equal(got, want) {
		t.Errorf("outside is %v", got)
	}
	if info, err := os.Lstat(outside); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("outside: %v, %v", info, err)
	}
}
