package door

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestHostKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "host")
	var wg sync.WaitGroup
	keys := make([]ssh.Signer, 8)
	for i := range keys { // several services at once agree on one
		wg.Go(func() {
			var err error
			if keys[i], _, err = HostKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	again, made, err := HostKey(path)
	if err != nil || made {
		t.Fatal(made, err)
	}
	for _, k := range keys {
		if !bytes.Equal(k.PublicKey().Marshal(), again.PublicKey().Marshal()) {
			t.Error("another key")
		}
	}
	if again.PublicKey().Type() != ssh.KeyAlgoED25519 {
		t.Error(again.PublicKey().Type())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v %v", entries, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, _, err := HostKey(path); !errors.Is(err, ErrHostKey) {
		t.Errorf("a key that others can read: %v", err)
	}
	if err := errors.Join(os.WriteFile(path, []byte("no key"), 0o600), os.Chmod(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := HostKey(path); !errors.Is(err, ErrHostKey) {
		t.Errorf("no key: %v", err)
	}
	if _, _, err := HostKey(filepath.Join(path, "x")); err == nil {
		t.Error("a file as a folder")
	}
}

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := ListenUnix(path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Error(info.Mode(), err)
	}
	if _, err := ListenUnix(path, 0o660); !errors.Is(err, ErrInUse) {
		t.Errorf("a second service: %v", err)
	}
	l.SetUnlinkOnClose(false) // as one that was killed
	l.Close()
	if l, err = ListenUnix(path, 0o660); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path, 0o660); err == nil {
		t.Error("a file was replaced")
	}
}

func TestPeerOf(t *testing.T) {
	l, err := ListenUnix(filepath.Join(t.TempDir(), "s"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	nc, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	peer, err := peerOf(nc)
	if want := (Peer{uint32(os.Getuid()), uint32(os.Getgid()), int32(os.Getpid())}); err != nil || peer != want {
		t.Errorf("%+v, %v; want %+v", peer, err, want)
	}
}
