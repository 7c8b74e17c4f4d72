package nfs3

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/willscott/go-nfs"
	"github.com/willscott/go-nfs/helpers"
)

// exportOnly lets one path be mounted.
type exportOnly struct {
	nfs.Handler
	path string
}

func (h exportOnly) Mount(ctx context.Context, c net.Conn, r nfs.MountRequest) (nfs.MountStatus, billy.Filesystem, []nfs.AuthFlavor) {
	status, fs, flavors := h.Handler.Mount(ctx, c, r)
	if string(r.Dirpath) != h.path {
		status = nfs.MountStatusErrAcces
	}
	return status, fs, flavors
}

// dialServer serves a folder and connects to it.
func dialServer(t *testing.T, root string) *Conn {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h := helpers.NewCachingHandler(exportOnly{helpers.NewNullAuthHandler(osfs.New(root)), "/srv"}, 64)
		_ = nfs.Serve(l, h) // ends with the listener
	}()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); l.Close(); <-done })
	conn := New(c, Cred{Machine: "a3-001"}, 7)
	conn.Timeout = 5 * time.Second
	return conn
}

func TestReadFile(t *testing.T) {
	root := t.TempDir()
	big := bytes.Repeat([]byte("0123456789"), 10_000)
	for name, text := range map[string][]byte{"etc/hostname": []byte("a3-001\n"), "usr/lib/os-release": []byte("ID=x\n"), "big": big} {
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, text, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"etc/os-release": "../usr/lib/os-release", "etc/abs": "/usr/lib/os-release",
		"etc/up": "../../../../usr/lib/os-release", "etc/loop": "loop",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	c := dialServer(t, root)
	h, err := c.Mount("/srv")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.FSInfo(h), c.GetAttr(h)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		limit int
		want  string
		err   error
	}{
		{"etc/hostname", 100, "a3-001\n", nil},
		{"/etc/../etc/hostname", 2, "a3", nil},
		{"etc/os-release", 100, "ID=x\n", nil},
		{"etc/abs", 100, "ID=x\n", nil},
		{"etc/up", 100, "ID=x\n", nil},
		{"big", 1 << 20, string(big), nil},
		{"etc/loop", 100, "", errLinks},
		{"etc/none", 100, "", StatusNoEnt},
	} {
		got, err := c.ReadFile(h, tt.name, tt.limit)
		if !errors.Is(err, tt.err) || string(got) != tt.want {
			t.Errorf("%s: %d octets, %v; want %d, %v", tt.name, len(got), err, len(tt.want), tt.err)
		}
	}
}

func TestRefusals(t *testing.T) {
	c := dialServer(t, t.TempDir())
	if _, err := c.Mount("/other"); !errors.Is(err, StatusAccess) {
		t.Errorf("mount: %v", err)
	}
	if err := c.GetAttr(Handle("0123456789abcdef")); !errors.Is(err, StatusStale) {
		t.Errorf("getattr: %v", err)
	}
	if _, err := c.GetPort(ProgNFS); !errors.Is(err, ErrRPC) {
		t.Errorf("getport of a server without portmapper: %v", err)
	}
}

// answer makes a record of an accepted reply.
func answer(xid uint32, results ...byte) []byte {
	var e encoder
	e.uint32(lastRecord | uint32(24+len(results)))
	for _, v := range []uint32{xid, msgReply, accepted, authNone, 0, success} {
		e.uint32(v)
	}
	return append(e.b, results...)
}

func TestGetPort(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer []byte
		want   uint16
		ok     bool
	}{
		{"registered", answer(7, 0, 0, 8, 1), 2049, true},
		{"not registered", answer(7, 0, 0, 0, 0), 0, true},
		{"late answer first", append(answer(6, 0, 0, 0, 1), answer(7, 0, 0, 0, 9)...), 9, true},
		{"no port number", answer(7, 0, 1, 0, 0), 0, false},
		{"empty", answer(7), 0, false},
		{"too long", binary.BigEndian.AppendUint32(nil, lastRecord|1<<30), 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := against(t, tt.answer).GetPort(ProgMount)
			if got != tt.want || (err == nil) != tt.ok {
				t.Errorf("%d, %v", got, err)
			}
		})
	}
}

// against is a connection to a server that says one thing and hangs up.
func against(t testing.TB, say []byte) *Conn {
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		buf := make([]byte, 4096)
		if _, err := server.Read(buf); err == nil {
			_, _ = server.Write(say) // the client may have hung up
		}
	}()
	t.Cleanup(func() { client.Close(); <-done })
	return New(client, Cred{}, 7)
}

func FuzzAnswer(f *testing.F) {
	f.Add(answer(7, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4))
	f.Add(answer(7, 0, 0, 0, 2))
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, call := range []func(*Conn){
			func(c *Conn) { _, _ = c.Mount("/srv") },
			func(c *Conn) { _, _, _ = c.lookup(Handle{1}, "etc") },
			func(c *Conn) { _, _ = c.readLink(Handle{1}) },
			func(c *Conn) { _, _, _ = c.read(Handle{1}, 0, 100) },
			func(c *Conn) { _, _ = c.GetPort(ProgNFS) },
		} {
			call(against(t, p))
		}
	})
}
