package nfstest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	nfsclient "github.com/willscott/go-nfs-client/nfs"
	"github.com/willscott/go-nfs-client/nfs/rpc"
	"github.com/willscott/go-nfs-client/nfs/xdr"

	"picloud/netboot/nfs"
)

func handle(t *testing.T, target *nfsclient.Target, name string) []byte {
	t.Helper()
	_, fh, err := target.Lookup(name)
	if err != nil {
		t.Fatalf("lookup %s: %v", name, err)
	}
	return fh
}

// writable publishes a root that its Pi may write to, or skips the test.
func (s *suite) writable(t *testing.T) (nfs.Export, *nfsclient.Target) {
	t.Helper()
	if !s.Writable {
		t.Skip("this server serves read-only")
	}
	e := s.exportAs(t, "pi-a", s.a.Addr, false)
	return e, s.mustMount(t, s.a, e.Path)
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// hostStat is what the host sees of a file in an export.
func hostStat(t *testing.T, e nfs.Export, name string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Lstat(filepath.Join(e.Dir, name))
	must(t, "stat", err)
	return info.Sys().(*syscall.Stat_t)
}

func writeFiles(t *testing.T, s *suite) {
	e, pi := s.writable(t)
	f, err := pi.OpenFile("/etc/new", 0o640)
	must(t, "create", err)
	content := bigFile("written")
	for part := range slices.Chunk(content, 10_000) {
		_, err := f.Write(part)
		must(t, "write", err)
	}
	must(t, "close", f.Close())
	wantContent(t, pi, "/etc/new", content)
	if got, err := os.ReadFile(filepath.Join(e.Dir, "etc/new")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the host sees %d bytes, %v", len(got), err)
	}
	if st := hostStat(t, e, "etc/new"); st.Uid != 0 || st.Mode&0o7777 != 0o640 {
		t.Errorf("owner %d, mode %o: root is not root here", st.Uid, st.Mode)
	}
	_, err = pi.Mkdir("/etc/d", 0o755)
	must(t, "mkdir", err)
	must(t, "rename", pi.Rename("/etc/new", "/etc/d/moved"))
	wantContent(t, pi, "/etc/d/moved", content)
	must(t, "symlink", pi.Symlink("/etc/d/moved", "/etc/link"))
	if target, err := os.Readlink(filepath.Join(e.Dir, "etc/link")); err != nil || target != "/etc/d/moved" {
		t.Errorf("link to %q, %v", target, err)
	}
	must(t, "remove", pi.Remove("/etc/d/moved"))
	must(t, "rmdir", pi.RmDir("/etc/d"))
	if _, err := os.Stat(filepath.Join(e.Dir, "etc/d")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removed folder: %v", err)
	}
}

// call sends one NFS call that the client library lacks.
func call(pi *nfsclient.Target, args any) error {
	res, err := pi.Call(args)
	if err != nil {
		return err
	}
	status, err := xdr.ReadUint32(res)
	if err != nil {
		return err
	}
	return nfsclient.NFS3Error(status)
}

// File types of RFC 1813, section 2.3.5.
const typeChar, typeFifo = 4, 7

func header(proc uint32) rpc.Header {
	return rpc.Header{Rpcvers: 2, Prog: nfsclient.Nfs3Prog, Vers: nfsclient.Nfs3Vers, Proc: proc, Cred: auth, Verf: rpc.AuthNull}
}

func linksDevicesAndTimes(t *testing.T, s *suite) {
	e, pi := s.writable(t)
	etc := handle(t, pi, "/etc")
	must(t, "link", call(pi, &struct {
		rpc.Header
		File []byte
		To   nfsclient.Diropargs3
	}{header(procLink), handle(t, pi, "/etc/hostname"), nfsclient.Diropargs3{FH: etc, Filename: "second"}}))
	if st := hostStat(t, e, "etc/second"); st.Nlink != 2 || st.Ino != hostStat(t, e, "etc/hostname").Ino {
		t.Errorf("hard link: %+v", st)
	}
	mode := func(m uint32) nfsclient.Sattr3 {
		return nfsclient.Sattr3{Mode: nfsclient.SetMode{SetIt: true, Mode: m}}
	}
	must(t, "set-uid", pi.Setattr("/etc/hostname", mode(0o4755)))
	if st := hostStat(t, e, "etc/hostname"); st.Mode&0o7777 != 0o4755 {
		t.Errorf("set-uid: mode %o", st.Mode)
	}
	must(t, "device", call(pi, &struct {
		rpc.Header
		Where        nfsclient.Diropargs3
		Type         uint32
		Attr         nfsclient.Sattr3
		Major, Minor uint32
	}{header(procMknod), nfsclient.Diropargs3{FH: etc, Filename: "null"}, typeChar, mode(0o666), 1, 3}))
	if st := hostStat(t, e, "etc/null"); st.Mode&syscall.S_IFMT != syscall.S_IFCHR || st.Rdev != 1<<8|3 {
		t.Errorf("device: mode %o, %x", st.Mode, st.Rdev)
	}
	must(t, "fifo", call(pi, &struct {
		rpc.Header
		Where nfsclient.Diropargs3
		Type  uint32
		Attr  nfsclient.Sattr3
	}{header(procMknod), nfsclient.Diropargs3{FH: etc, Filename: "pipe"}, typeFifo, mode(0o600)}))
	if st := hostStat(t, e, "etc/pipe"); st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		t.Errorf("fifo: mode %o", st.Mode)
	}
	const atime, mtime = 1_500_000_000, 1_600_000_000
	const toClientTime = 2
	at := func(sec uint32) nfsclient.SetTime {
		return nfsclient.SetTime{SetIt: toClientTime, Time: nfsclient.NFS3Time{Seconds: sec}}
	}
	must(t, "times", pi.Setattr("/etc/hostname", nfsclient.Sattr3{Atime: at(atime), Mtime: at(mtime)}))
	if st := hostStat(t, e, "etc/hostname"); st.Atim.Sec != atime || st.Mtim.Sec != mtime {
		t.Errorf("times %v and %v", time.Unix(st.Atim.Sec, 0), time.Unix(st.Mtim.Sec, 0))
	}
}

// createOnce is open(O_CREAT|O_EXCL), which locks are made of: the verifier
// tells a repeated call from a second one.
func createOnce(t *testing.T, s *suite) {
	_, pi := s.writable(t)
	etc := handle(t, pi, "/etc")
	create := func(verifier byte) error {
		return call(pi, &struct {
			rpc.Header
			Where    nfsclient.Diropargs3
			How      uint32
			Verifier [8]byte
		}{header(procCreate), nfsclient.Diropargs3{FH: etc, Filename: "lock"}, 2, [8]byte{verifier, 1, 2, 3, 4, 5, 6, verifier}})
	}
	must(t, "create", create(7))
	must(t, "the same call again", create(7))
	if err := create(8); !errors.Is(err, os.ErrExist) {
		t.Errorf("another one's: %v", err)
	}
}

// replaceOpenFile is what a package upgrade does: a running program's file is
// replaced by a rename, and its handle must go on to name the file that the
// Pi's kernel had moved aside.
func replaceOpenFile(t *testing.T, s *suite) {
	e, pi := s.writable(t)
	running := handle(t, pi, "/usr/lib/big")
	must(t, "move aside", pi.Rename("/usr/lib/big", "/usr/lib/.nfs0001"))
	must(t, "write the new one", os.WriteFile(filepath.Join(e.Dir, "usr/lib/fresh"), []byte("fresh"), 0o755))
	must(t, "rename", pi.Rename("/usr/lib/fresh", "/usr/lib/big"))
	attr, err := pi.GetAttr(running)
	if err != nil || attr.Filesize != uint64(len(bigFile("pi-a"))) {
		t.Errorf("the open file: %+v, %v", attr, err)
	}
	wantContent(t, pi, "/usr/lib/big", []byte("fresh"))
}
