// Package nfstest is a test suite for every [nfs.Exporter] and the server
// behind it. It mounts with a real NFS version 3 client over TCP, each Pi from
// a loopback address of its own.
package nfstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	nfsclient "github.com/willscott/go-nfs-client/nfs"
	"github.com/willscott/go-nfs-client/nfs/rpc"
	"github.com/willscott/go-nfs-client/nfs/xdr"

	"picloud/netboot/nfs"
)

// Server is the server under test. Its port must be open at every loopback
// address.
type Server struct {
	nfs.Exporter
	MountPort, NFSPort uint16 // may be the same
	// Writable is set if the server can publish exports that are not ReadOnly.
	Writable bool
	// MountsBelow is set if a Pi may mount folders below its own root, and
	// write its path in other ways, as Linux's mountd lets it.
	MountsBelow bool
	// MakeDir makes an empty folder for an export; nil means one in a
	// temporary folder, which shares its file system with all others.
	MakeDir func(t *testing.T, name string) string
	// Prefix is where the exports' paths are; "" means /srv.
	Prefix string
	// Pis are the two clients; nil means loopback addresses.
	Pis *[2]Pi
	// ListsExports is set if the server tells every client the paths and clients
	// of all exports (MOUNTPROC3_EXPORT and DUMP), as Linux's mountd does.
	ListsExports bool
}

// Pi is a client, on a segment of its own.
type Pi struct {
	Addr, Server netip.Addr // its own, and the server's on its segment
	// Dial connects to a port of the server, from one that only root may use if
	// the test is root: servers ask for that.
	Dial func(ctx context.Context, port uint16) (net.Conn, error)
}

// loopback is a Pi that is on this host.
func loopback(pi, server string) Pi {
	p := Pi{Addr: netip.MustParseAddr(pi), Server: netip.MustParseAddr(server)}
	p.Dial = func(ctx context.Context, port uint16) (net.Conn, error) {
		return dialReserved(ctx, p.Addr, netip.AddrPortFrom(p.Server, port))
	}
	return p
}

// Isolation are the tests of what a Pi can reach that is not its own.
var Isolation = []string{
	"RefuseOthers", "RefuseOtherPaths", "TellNothingOfOthers", "RefuseForeignHandle", "RefuseForeignFolder", "RefuseForgedHandle", "StayBelowRoot", "NameNothingAbove",
}

// Run runs the suite, or those of its tests alone whose names are in only.
// start starts a fresh server for each test and stops it in t.Cleanup.
func Run(t *testing.T, start func(t *testing.T) Server, only ...string) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"MountOwnAndRead", mountOwnAndRead},
		{"ListDirectory", listDirectory},
		{"RefuseOthers", refuseOthers},
		{"RefuseOtherPaths", refuseOtherPaths},
		{"RefuseForeignHandle", refuseForeignHandle},
		{"TellNothingOfOthers", tellNothingOfOthers},
		{"RefuseForeignFolder", refuseForeignFolder},
		{"RefuseForgedHandle", refuseForgedHandle},
		{"StayBelowRoot", stayBelowRoot},
		{"NameNothingAbove", nameNothingAbove},
		{"RefuseAfterRemove", refuseAfterRemove},
		{"AddIsIdempotent", addIsIdempotent},
		{"AddReplaces", addReplaces},
		{"AddConflict", addConflict},
		{"AddInvalid", addInvalid},
		{"RefuseWrites", refuseWrites},
		{"LinksAreNotFollowed", linksAreNotFollowed},
		{"WriteFiles", writeFiles},
		{"LinksDevicesAndTimes", linksDevicesAndTimes},
		{"CreateOnce", createOnce},
		{"ReplaceOpenFile", replaceOpenFile},
	} {
		if len(only) > 0 && !slices.Contains(only, test.name) {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			s := &suite{Server: start(t), dir: t.TempDir(), a: loopback("127.64.0.2", "127.64.0.1"), b: loopback("127.64.0.6", "127.64.0.5")}
			if s.Pis != nil {
				s.a, s.b = s.Pis[0], s.Pis[1]
			}
			test.run(t, s)
		})
	}
}

type suite struct {
	Server
	dir  string
	a, b Pi
}

// export makes a root folder and publishes it.
func (s *suite) export(t *testing.T, id string, client netip.Addr) nfs.Export {
	t.Helper()
	return s.exportAs(t, id, client, true)
}

func (s *suite) exportAs(t *testing.T, id string, client netip.Addr, readOnly bool) nfs.Export {
	t.Helper()
	e := nfs.Export{ID: id, Dir: s.root(t, id, id), Path: s.path(id), Client: client, ReadOnly: readOnly}
	if err := s.Add(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	return e
}

// path is the path of an export.
func (s *suite) path(id string) string {
	if s.Prefix == "" {
		return "/srv/" + id
	}
	return s.Prefix + "/" + id
}

// root makes a root folder.
func (s *suite) root(t *testing.T, name, host string) string {
	t.Helper()
	if s.MakeDir == nil {
		return makeRoot(t, filepath.Join(s.dir, name), host)
	}
	return makeRoot(t, s.MakeDir(t, name), host)
}

func bigFile(host string) []byte { return bytes.Repeat([]byte(host+" 0123456789\n"), 20_000) }

func makeRoot(t *testing.T, dir, host string) string {
	t.Helper()
	for name, content := range map[string][]byte{
		"etc/hostname":  []byte(host + "\n"),
		"usr/lib/big":   bigFile(host),
		"usr/lib/empty": nil,
	} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		if err := os.WriteFile(filepath.Join(dir, "usr", fmt.Sprintf("file-%03d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// relay lets the client library, which cannot choose its source address,
// connect from a Pi's.
func relay(t *testing.T, pi Pi, port uint16) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go pipe(ctx, c, pi, port)
		}
	}()
	return l.Addr().String()
}

func pipe(ctx context.Context, c net.Conn, pi Pi, port uint16) {
	defer c.Close()
	up, err := pi.Dial(ctx, port)
	if err != nil {
		return
	}
	defer up.Close()
	stop := context.AfterFunc(ctx, func() { c.Close(); up.Close() })
	defer stop()
	go func() {
		_, _ = io.Copy(up, c) // either side may hang up
		up.Close()
	}()
	_, _ = io.Copy(c, up)
}

// reserved counts the source ports that were used.
var reserved atomic.Uint32

// dialReserved connects as a kernel does, from a port that only root may use,
// if we are root.
func dialReserved(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	const first, count = 600, 424
	if os.Geteuid() != 0 {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
		return d.DialContext(ctx, "tcp4", to.String())
	}
	var err error
	for range count {
		port := first + uint16(reserved.Add(1)%count)
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, port))}
		var c net.Conn
		if c, err = d.DialContext(ctx, "tcp4", to.String()); err == nil {
			return c, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			break
		}
	}
	return nil, err
}

var auth = rpc.NewAuthUnix("pi", 0, 0).Auth()

// mount mounts a path as a Pi's kernel does, as root.
func (s *suite) mount(t *testing.T, pi Pi, dir string) (*nfsclient.Target, error) {
	t.Helper()
	fh, err := askMount(dial(t, pi, s.MountPort), dir)
	if err != nil {
		return nil, err
	}
	return nfsclient.NewTargetWithClient(dial(t, pi, s.NFSPort), auth, fh, dir, 0)
}

// dial connects the client library to a port of the server.
func dial(t *testing.T, pi Pi, port uint16) *rpc.Client {
	t.Helper()
	addr := relay(t, pi, port)
	c, err := rpc.DialTCP("tcp", addr, false)
	for range 20 { // the client picks a port of its own by chance
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
		c, err = rpc.DialTCP("tcp", addr, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// mountRefused are the names of MOUNT's statuses (RFC 1813, section 5.1.5).
var mountRefused = map[uint32]string{
	1: "MNT3ERR_PERM", 2: "MNT3ERR_NOENT", 5: "MNT3ERR_IO", 13: "MNT3ERR_ACCES", 20: "MNT3ERR_NOTDIR", 63: "MNT3ERR_NAMETOOLONG",
}

// askMount asks for a root's handle. The client library would go on to speak
// NFS on the same connection.
func askMount(c *rpc.Client, dir string) ([]byte, error) {
	res, err := c.Call(&struct {
		rpc.Header
		Dirpath string
	}{rpc.Header{Rpcvers: 2, Prog: nfsclient.MountProg, Vers: nfsclient.MountVers, Proc: nfsclient.MountProc3MNT, Cred: auth, Verf: rpc.AuthNull}, dir})
	if err != nil {
		return nil, err
	}
	status, err := xdr.ReadUint32(res)
	if err != nil {
		return nil, err
	}
	if status != nfsclient.MNT3Ok {
		return nil, fmt.Errorf("status %d %s", status, mountRefused[status])
	}
	return xdr.ReadOpaque(res)
}

func (s *suite) mustMount(t *testing.T, pi Pi, dir string) *nfsclient.Target {
	t.Helper()
	target, err := s.mount(t, pi, dir)
	if err != nil {
		t.Fatalf("mount %s from %s: %v", dir, pi.Addr, err)
	}
	return target
}

func readFile(target *nfsclient.Target, name string) ([]byte, error) {
	f, err := target.Open(name)
	if err != nil {
		return nil, err
	}
	var all []byte
	buf := make([]byte, 32<<10)
	for {
		n, err := f.ReadAt(buf, int64(len(all)))
		all = append(all, buf[:n]...)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

func wantContent(t *testing.T, target *nfsclient.Target, name string, want []byte) {
	t.Helper()
	got, err := readFile(target, name)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes %.40q, %v, want %d bytes", name, len(got), got, err, len(want))
	}
}

func wantRefused(t *testing.T, err error) {
	t.Helper()
	switch {
	case err == nil:
		t.Error("mounted")
	case strings.Contains(err.Error(), "MNT3ERR_ACCES"), strings.Contains(err.Error(), "MNT3ERR_NOENT"):
	default:
		t.Errorf("mount: %v, want MNT3ERR_ACCES or MNT3ERR_NOENT", err)
	}
}

// wantStatus checks an NFS status; the client has names of its own for some.
func wantStatus(t *testing.T, what string, err error, want ...uint32) {
	t.Helper()
	var nfsErr *nfsclient.Error
	if !errors.As(err, &nfsErr) || !slices.Contains(want, nfsErr.ErrorNum) {
		t.Errorf("%s: %v, want status %v", what, err, want)
	}
}

// wantDenied checks that a call was refused: by an NFS status, or by RPC's
// AUTH_ERROR (RFC 5531, section 9), for which the client library has no better
// words.
func wantDenied(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), "rejectedStatus") {
		return
	}
	wantStatus(t, what, err, nfsclient.NFS3ErrStale, nfsclient.NFS3ErrBadHandle, nfsclient.NFS3ErrAcces)
}

func mountOwnAndRead(t *testing.T, s *suite) {
	a, b := s.export(t, "pi-a", s.a.Addr), s.export(t, "pi-b", s.b.Addr)
	ta, tb := s.mustMount(t, s.a, a.Path), s.mustMount(t, s.b, b.Path)
	wantContent(t, ta, "/etc/hostname", []byte("pi-a\n"))
	wantContent(t, tb, "/etc/hostname", []byte("pi-b\n"))
	wantContent(t, ta, "/usr/lib/big", bigFile("pi-a"))
	wantContent(t, ta, "/usr/lib/empty", nil)
	if _, err := readFile(ta, "/etc/shadow"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	attr, err := ta.Getattr("/usr/lib/big")
	if err != nil || attr.Filesize != uint64(len(bigFile("pi-a"))) || attr.FileMode&0o7777 != 0o644 || attr.Type != nfsclient.NF3Reg {
		t.Errorf("attributes %+v, %v", attr, err)
	}
}

func listDirectory(t *testing.T, s *suite) {
	a := s.export(t, "pi-a", s.a.Addr)
	entries, err := s.mustMount(t, s.a, a.Path).ReadDirPlus("/usr")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, e := range entries {
		if names[e.FileName] {
			t.Errorf("%q is listed twice", e.FileName)
		}
		names[e.FileName] = true
	}
	delete(names, ".") // the client library leaves these two out
	delete(names, "..")
	if len(names) != 301 || !names["lib"] || !names["file-000"] || !names["file-299"] {
		t.Errorf("%d names", len(names))
	}
}

func refuseOthers(t *testing.T, s *suite) {
	a := s.export(t, "pi-a", s.a.Addr)
	_, err := s.mount(t, s.b, a.Path)
	wantRefused(t, err)
	s.export(t, "pi-b", s.b.Addr)
	_, err = s.mount(t, s.b, a.Path)
	wantRefused(t, err)
}

func refuseOtherPaths(t *testing.T, s *suite) {
	a := s.export(t, "pi-a", s.a.Addr)
	s.export(t, "pi-b", s.b.Addr)
	paths := []string{
		"/", "", path.Dir(a.Path), a.Path + "/..", a.Path + "/../pi-b", a.Path + "x", s.path("pi-b"), s.path("pi-b") + "/etc", "/etc",
		strings.Repeat("/a", 500),
	}
	if !s.MountsBelow {
		paths = append(paths, a.Path+"/etc", a.Path+"/../pi-a", strings.TrimPrefix(a.Path, "/"))
	}
	for _, p := range paths {
		if _, err := s.mount(t, s.a, p); err == nil {
			t.Errorf("mounted %.40q", p)
		}
	}
}

func refuseAfterRemove(t *testing.T, s *suite) {
	a, b := s.export(t, "pi-a", s.a.Addr), s.export(t, "pi-b", s.b.Addr)
	ta, tb := s.mustMount(t, s.a, a.Path), s.mustMount(t, s.b, b.Path)
	for range 2 { // the second removal changes nothing
		if err := s.Remove(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
	}
	_, err := ta.Getattr("/etc/hostname")
	wantDenied(t, "removed export", err)
	_, err = s.mount(t, s.a, a.Path)
	wantRefused(t, err)
	wantContent(t, tb, "/etc/hostname", []byte("pi-b\n"))
	s.wantList(t, b)
}

func (s *suite) wantList(t *testing.T, want ...nfs.Export) {
	t.Helper()
	got, err := s.List(t.Context())
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("list %v, %v, want %v", got, err, want)
	}
}

func addIsIdempotent(t *testing.T, s *suite) {
	a := s.export(t, "pi-a", s.a.Addr)
	ta := s.mustMount(t, s.a, a.Path)
	_, fh, err := ta.Lookup("/etc/hostname")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if _, err := ta.GetAttr(fh); err != nil {
		t.Errorf("handle after a second Add: %v", err)
	}
	s.wantList(t, a)
}

// addReplaces is a reimage: another folder under the same ID and path.
func addReplaces(t *testing.T, s *suite) {
	a := s.export(t, "pi-a", s.a.Addr)
	s.mustMount(t, s.a, a.Path)
	next := a
	next.Dir = s.root(t, "next", "reimaged")
	if err := s.Add(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	s.wantList(t, next)
	wantContent(t, s.mustMount(t, s.a, a.Path), "/etc/hostname", []byte("reimaged\n"))
}

func addConflict(t *testing.T, s *suite) {
	a := s.export(t, "pi-a", s.a.Addr)
	other := a
	other.ID = "other"
	if err := s.Add(t.Context(), other); !errors.Is(err, nfs.ErrConflict) {
		t.Errorf("same path and client under another ID: %v", err)
	}
	other.Path, other.Client = s.path("other"), s.b.Addr
	if err := s.Add(t.Context(), other); !errors.Is(err, nfs.ErrConflict) || !strings.Contains(err.Error(), `"pi-a"`) {
		t.Errorf("same folder for another Pi: %v", err)
	}
	s.wantList(t, a)
	// A moved server: its folder is free once the first Pi's export is gone.
	must(t, "remove", s.Remove(t.Context(), a.ID))
	must(t, "add", s.Add(t.Context(), other))
	s.wantList(t, other)
}

func addInvalid(t *testing.T, s *suite) {
	good := nfs.Export{ID: "x", Dir: s.root(t, "x", "x"), Path: s.path("x"), Client: s.a.Addr, ReadOnly: true}
	for name, change := range map[string]func(*nfs.Export){
		"no id":            func(e *nfs.Export) { e.ID = "" },
		"id with a break":  func(e *nfs.Export) { e.ID = "a\nb" },
		"relative dir":     func(e *nfs.Export) { e.Dir = "srv" },
		"unclean dir":      func(e *nfs.Export) { e.Dir += "/../x" },
		"relative path":    func(e *nfs.Export) { e.Path = "srv/x" },
		"path with blank":  func(e *nfs.Export) { e.Path = "/srv/x *(rw)" },
		"path with break":  func(e *nfs.Export) { e.Path = "/srv/x\n/" },
		"path with dots":   func(e *nfs.Export) { e.Path = "/srv/../x" },
		"long path":        func(e *nfs.Export) { e.Path = "/" + strings.Repeat("a", nfs.MaxPath) },
		"no client":        func(e *nfs.Export) { e.Client = netip.Addr{} },
		"client anyone":    func(e *nfs.Export) { e.Client = netip.IPv4Unspecified() },
		"client multicast": func(e *nfs.Export) { e.Client = netip.MustParseAddr("224.0.0.1") },
		"client by IPv6":   func(e *nfs.Export) { e.Client = netip.MustParseAddr("::1") },
	} {
		e := good
		change(&e)
		if err := s.Add(t.Context(), e); !errors.Is(err, nfs.ErrInvalidExport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	gone := good
	gone.Dir = filepath.Join(s.dir, "gone")
	if err := s.Add(t.Context(), gone); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder that is not there: %v", err)
	}
	if !s.Writable {
		writable := good
		writable.ReadOnly = false
		if err := s.Add(t.Context(), writable); !errors.Is(err, nfs.ErrNotSupported) {
			t.Errorf("writable export: %v", err)
		}
	}
	s.wantList(t)
}

func refuseWrites(t *testing.T, s *suite) {
	a := s.export(t, "pi-a", s.a.Addr)
	ta := s.mustMount(t, s.a, a.Path)
	f, err := ta.Open("/etc/hostname")
	if err != nil {
		t.Fatal(err)
	}
	_, writeErr := f.Write([]byte("mine"))
	_, createErr := ta.Create("/etc/new", 0o644)
	_, mkdirErr := ta.Mkdir("/etc/new.d", 0o755)
	for what, err := range map[string]error{
		"write":   writeErr,
		"create":  createErr,
		"mkdir":   mkdirErr,
		"remove":  ta.Remove("/etc/hostname"),
		"rmdir":   ta.RmDir("/etc"),
		"rename":  ta.Rename("/etc/hostname", "/etc/other"),
		"symlink": ta.Symlink("/etc/hostname", "/etc/other"),
		"chmod":   ta.Setattr("/etc/hostname", nfsclient.Sattr3{Mode: nfsclient.SetMode{SetIt: true, Mode: 0o777}}),
	} {
		wantStatus(t, what, err, nfsclient.NFS3ErrROFS)
	}
	wantContent(t, ta, "/etc/hostname", []byte("pi-a\n"))
}

// linksAreNotFollowed: a link that a customer has made is the client's to
// resolve, in the client's own tree.
func linksAreNotFollowed(t *testing.T, s *suite) {
	a := s.export(t, "pi-a", s.a.Addr)
	secret := filepath.Join(s.dir, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"abs": secret, "rel": "../../secret", "updir": "../.."} {
		if err := os.Symlink(target, filepath.Join(a.Dir, "etc", name)); err != nil {
			t.Fatal(err)
		}
	}
	ta := s.mustMount(t, s.a, a.Path)
	for _, name := range []string{"/etc/abs", "/etc/rel"} {
		if data, err := readFile(ta, name); err == nil {
			t.Errorf("read %q through %s", data, name)
		}
	}
	f, err := ta.Open("/etc/abs")
	if err != nil {
		t.Fatal(err)
	}
	if target, err := f.Readlink(); err != nil || target != secret {
		t.Errorf("readlink %q, %v", target, err)
	}
	if _, _, err := ta.Lookup("/etc/updir/secret"); err == nil {
		t.Error("looked up a name below a link")
	}
}
