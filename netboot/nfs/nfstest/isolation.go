package nfstest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picloud/netboot/nfs"
)

// pair is two Pis with a root each, which they have mounted. Every file of a
// root has the mark of its Pi as its modification time, to tell by a file's
// attributes whose it is.
type pair struct {
	a, b   nfs.Export
	ha, hb map[string][]byte // handles of names below the root
}

var (
	markA, markB = time.Unix(1_111_111_111, 0), time.Unix(1_222_222_222, 0)
	pairNames    = []string{"/", "/etc", "/etc/hostname"}
)

func (s *suite) pair(t *testing.T) pair {
	t.Helper()
	publish := func(id string, pi Pi, at time.Time) nfs.Export {
		e := nfs.Export{ID: id, Dir: s.root(t, id, id), Path: s.path(id), Client: pi.Addr, ReadOnly: !s.Writable}
		mark(t, e.Dir, at) // before the server looks, and keeps what it saw
		must(t, "add", s.Add(t.Context(), e))
		return e
	}
	p := pair{a: publish("pi-a", s.a, markA), b: publish("pi-b", s.b, markB)}
	p.ha, p.hb = s.handles(t, s.a, p.a), s.handles(t, s.b, p.b)
	for _, pi := range []struct {
		pi   Pi
		fh   map[string][]byte
		want time.Time
	}{{s.a, p.ha, markA}, {s.b, p.hb, markB}} {
		r := dialRaw(t, pi.pi, s.NFSPort, progNFS)
		for name, fh := range pi.fh {
			if got, err := modified(t, r, fh); err != nil || got != uint32(pi.want.Unix()) {
				t.Fatalf("%s of %s itself: modified %d, %v", name, pi.pi.Addr, got, err)
			}
		}
		r.hangUp()
	}
	return p
}

func (s *suite) handles(t *testing.T, pi Pi, e nfs.Export) map[string][]byte {
	t.Helper()
	target := s.mustMount(t, pi, e.Path)
	all := map[string][]byte{}
	for _, name := range pairNames {
		all[name] = handle(t, target, name)
	}
	return all
}

// mark sets the modification time of all files in a root.
func mark(t *testing.T, dir string, at time.Time) {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		all = append(all, p)
		return err
	})
	for _, p := range slices.Backward(all) {
		err = errors.Join(err, os.Chtimes(p, at, at))
	}
	must(t, "mark", err)
}

// modified is GETATTR's modification time, in seconds.
func modified(t *testing.T, r *raw, fh []byte) (uint32, error) {
	t.Helper()
	status, p, err := r.status(t, procGetAttr, opaque(fh))
	if err != nil {
		return 0, err
	}
	if status != 0 {
		return 0, fmt.Errorf("status %d", status)
	}
	const mtime = 68 // in fattr3
	if len(p) < mtime+4 {
		return 0, errors.New("short attributes")
	}
	return binary.BigEndian.Uint32(p[mtime:]), nil
}

// wantUntouched checks that a root is as it was made.
func wantUntouched(t *testing.T, e nfs.Export, host string) {
	t.Helper()
	if got, err := os.ReadFile(filepath.Join(e.Dir, "etc/hostname")); err != nil || string(got) != host+"\n" {
		t.Errorf("etc/hostname of %s: %q, %v", host, got, err)
	}
	for dir, want := range map[string]string{".": "etc usr", "etc": "hostname"} {
		entries, err := os.ReadDir(filepath.Join(e.Dir, dir))
		must(t, "list", err)
		var names []string
		for _, entry := range entries {
			if entry.Name() != "lost+found" {
				names = append(names, entry.Name())
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s of %s has %s, want %s", dir, host, got, want)
		}
	}
}

// tellNothingOfOthers: what MOUNT tells of who has what.
func tellNothingOfOthers(t *testing.T, s *suite) {
	p := s.pair(t)
	for _, ask := range []struct {
		name string
		proc uint32
	}{{"DUMP", 2}, {"EXPORT", 5}} {
		got, err := dialRaw(t, s.b, s.MountPort, progMount).call(t, ask.proc, nil)
		if err != nil && !errors.Is(err, errDenied) {
			t.Errorf("%s: %v", ask.name, err)
		}
		told := bytes.Contains(got, []byte(p.a.Path)) || bytes.Contains(got, []byte(p.a.Client.String()))
		if told && s.ListsExports {
			t.Logf("%s tells everyone the paths and clients of all exports", ask.name)
			continue
		}
		if told {
			t.Errorf("%s tells pi-b of pi-a: %q", ask.name, got)
		}
	}
}

// onlyMode is a sattr3 that sets nothing but the mode (RFC 1813, section 2.5).
var onlyMode = words(1, 0o777, 0, 0, 0, 0, 0)

// foreignCalls are all calls of NFS on a handle, each with arguments that would
// do something.
var foreignCalls = []struct {
	name string
	proc uint32
	args func(fh []byte) []byte
}{
	{"GETATTR", procGetAttr, opaque[[]byte]},
	{"SETATTR", procSetAttr, with(onlyMode, words(0))},
	{"LOOKUP", procLookup, with(opaque("etc"))},
	{"LOOKUP of a file", procLookup, with(opaque("hostname"))},
	{"ACCESS", procAccess, with(words(0x3f))},
	{"READLINK", procReadLink, opaque[[]byte]},
	{"READ", procRead, with(words(0, 0, 64))},
	{"WRITE", procWrite, with(words(0, 0, 4, 2), opaque("mine"))},
	{"CREATE", procCreate, with(opaque("new"), words(0), onlyMode)},
	{"MKDIR", procMkdir, with(opaque("new.d"), onlyMode)},
	{"SYMLINK", procSymlink, with(opaque("new.l"), onlyMode, opaque("/"))},
	{"MKNOD", procMknod, with(opaque("new.p"), words(typeFifo), onlyMode)},
	{"REMOVE", procRemove, with(opaque("hostname"))},
	{"RMDIR", procRmdir, with(opaque("etc"))},
	{"RENAME", procRename, func(fh []byte) []byte {
		return slices.Concat(opaque(fh), opaque("hostname"), opaque(fh), opaque("other"))
	}},
	{"LINK", procLink, func(fh []byte) []byte { return slices.Concat(opaque(fh), opaque(fh), opaque("other")) }},
	{"READDIR", procReadDir, with(words(0, 0, 0, 0, 4096))},
	{"READDIRPLUS", procReadDirPlus, with(words(0, 0, 0, 0, 4096, 4096))},
	{"FSSTAT", procFSStat, opaque[[]byte]},
	{"FSINFO", procFSInfo, opaque[[]byte]},
	{"PATHCONF", procPathConf, opaque[[]byte]},
	{"COMMIT", procCommit, with(words(0, 0, 0))},
}

func with(args ...[]byte) func([]byte) []byte {
	return func(fh []byte) []byte { return slices.Concat(opaque(fh), slices.Concat(args...)) }
}

// refuseForeignHandle: a handle that is good is good for its own Pi alone,
// wherever another has it from.
func refuseForeignHandle(t *testing.T, s *suite) {
	p := s.pair(t)
	r := dialRaw(t, s.b, s.NFSPort, progNFS)
	for _, name := range pairNames {
		for _, c := range foreignCalls {
			status, _, err := r.status(t, c.proc, c.args(p.ha[name]))
			if errors.Is(err, errDenied) {
				continue
			}
			if err != nil || !slices.Contains([]uint32{statusPerm, statusAcces, statusStale, statusBadHandle}, status) {
				t.Errorf("%s of %s: status %d, %v", c.name, name, status, err)
			}
		}
	}
	wantUntouched(t, p.a, "pi-a")
	if _, err := modified(t, dialRaw(t, s.a, s.NFSPort, progNFS), p.ha["/"]); err != nil {
		t.Errorf("its own Pi: %v", err)
	}
}

// refuseForeignFolder: calls with two handles, of which one is the Pi's own.
func refuseForeignFolder(t *testing.T, s *suite) {
	p := s.pair(t)
	if !s.Writable {
		t.Skip("this server serves read-only")
	}
	r := dialRaw(t, s.b, s.NFSPort, progNFS)
	for name, args := range map[string]struct {
		proc uint32
		args [][]byte
	}{
		"move there":  {procRename, [][]byte{opaque(p.hb["/etc"]), opaque("hostname"), opaque(p.ha["/etc"]), opaque("new")}},
		"move here":   {procRename, [][]byte{opaque(p.ha["/etc"]), opaque("hostname"), opaque(p.hb["/etc"]), opaque("new")}},
		"link there":  {procLink, [][]byte{opaque(p.hb["/etc/hostname"]), opaque(p.ha["/etc"]), opaque("new")}},
		"link here":   {procLink, [][]byte{opaque(p.ha["/etc/hostname"]), opaque(p.hb["/etc"]), opaque("new")}},
		"move folder": {procRename, [][]byte{opaque(p.hb["/"]), opaque("etc"), opaque(p.ha["/"]), opaque("new")}},
	} {
		if status, _, err := r.status(t, args.proc, slices.Concat(args.args...)); err == nil && status == 0 {
			t.Errorf("%s: done", name)
		}
	}
	wantUntouched(t, p.a, "pi-a")
	wantUntouched(t, p.b, "pi-b")
}

// refuseForgedHandle: a Pi's root makes up handles out of its own and of what
// it knows or guesses of another's, of the server's and of the folder that the
// roots are in. It never gets a file that is not its own, and harms no one.
func refuseForgedHandle(t *testing.T, s *suite) {
	p := s.pair(t)
	secret := filepath.Join(filepath.Dir(p.a.Dir), "beside")
	must(t, "write", os.WriteFile(secret, []byte("secret"), 0o644))
	r := dialRaw(t, s.a, s.NFSPort, progNFS)
	tried, own := 0, 0
	for what, forged := range s.forgeries(t, p, secret) {
		for _, fh := range forged {
			tried++
			if at, err := modified(t, r, fh); err == nil && at == uint32(markA.Unix()) {
				own++
			} else if err == nil {
				t.Errorf("%s: handle %x is of a file that is not the Pi's own, of %v", what, fh, time.Unix(int64(at), 0).UTC())
			}
		}
	}
	t.Logf("%d handles tried, of which %d are of the Pi's own files", tried, own)
	for _, pi := range []struct {
		pi Pi
		fh []byte
	}{{s.a, p.ha["/"]}, {s.b, p.hb["/"]}} {
		if _, err := modified(t, dialRaw(t, pi.pi, s.NFSPort, progNFS), pi.fh); err != nil {
			t.Errorf("after that, %s's own handle: %v", pi.pi.Addr, err)
		}
	}
}

// forgeries are the handles to try, by what they are.
func (s *suite) forgeries(t *testing.T, p pair, secret string) map[string][][]byte {
	all := map[string][][]byte{}
	add := func(what string, parts ...[]byte) { all[what] = append(all[what], slices.Concat(parts...)) }
	for _, name := range pairNames {
		mine := p.ha[name]
		for _, theirs := range p.hb {
			for at := 1; at < min(len(mine), len(theirs)); at++ {
				add("begins as mine, ends as another's", mine[:at], theirs[at:])
				add("begins as another's, ends as mine", theirs[:at], mine[at:])
			}
			for from := 0; from+4 < min(len(mine), len(theirs)); from += 4 {
				for to := from + 4; to < min(len(mine), len(theirs)); to += 4 {
					add("mine with a part of another's", mine[:from], theirs[from:to], mine[to:])
				}
			}
			add("another's own", theirs)
		}
		for at := range mine {
			for _, flip := range []byte{1, 2, 0x80, 0xff} {
				add("one octet wrong", mine[:at], []byte{mine[at] ^ flip}, mine[at+1:])
			}
		}
		for _, n := range []int{0, 1, 4, 8, 12, len(mine) - 4, len(mine) - 1} {
			add("too short", mine[:min(max(n, 0), len(mine)-1)])
		}
		for _, n := range []int{1, 4, 16, 64, 65, 128, 4096} {
			add("too long", mine, bytes.Repeat([]byte{1}, n))
		}
	}
	maps.Copy(all, grafts(p, secret))
	return all
}

// grafts put the number and the generation that a file system knows another
// file by (name_to_handle_at(2)) into the Pi's own handles.
func grafts(p pair, secret string) map[string][][]byte {
	all := map[string][][]byte{}
	for _, name := range []string{"/etc", "/etc/hostname"} {
		fid := fileID(filepath.Join(p.a.Dir, name))
		fh := p.ha[name]
		at := bytes.Index(fh, fid)
		if len(fid) < 8 || at < 0 {
			continue // this server's handles are not made so
		}
		put := func(what string, fid, parent []byte) {
			forged := slices.Concat(fh[:at], fid, fh[at+len(fid):])
			all[what] = append(all[what], forged)
			if after := at + len(fid); after+len(parent) <= len(forged) {
				copy(forged[after:], parent)
				all[what] = append(all[what], forged)
			}
		}
		for what, victim := range map[string]string{
			"root of another":               p.b.Dir,
			"file of another":               filepath.Join(p.b.Dir, "etc/hostname"),
			"folder of another":             filepath.Join(p.b.Dir, "usr"),
			"folder that the root is in":    filepath.Dir(p.a.Dir),
			"folder above that":             filepath.Dir(filepath.Dir(p.a.Dir)),
			"file beside the root":          secret,
			"the server's own root":         "/",
			"a file of the server's own":    "/etc/passwd",
			"the record of the server's":    "/var/lib/nfs/etab",
			"the server's folder for roots": filepath.Dir(p.b.Dir),
		} {
			id := fileID(victim)
			if len(id) != len(fid) {
				continue
			}
			anyTime := slices.Concat(id[:len(id)-4], make([]byte, 4)) // generation 0 fits all, for ext4
			parent := fileID(filepath.Dir(victim))
			put(what, id, parent)
			put(what, anyTime, parent)
			put(what, id, fileID(p.a.Dir)) // as if it were in the Pi's root
			put(what, anyTime, fileID(p.a.Dir))
		}
		for number := uint32(0); number < 64; number++ {
			put("low numbers", binary.LittleEndian.AppendUint64(nil, uint64(number)), nil)
		}
	}
	return all
}

// fileID is what a file's handle has in it, without its parent's; nil if the
// file system has no handles.
func fileID(name string) []byte {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, name, 0)
	if err != nil {
		return nil
	}
	return h.Bytes()
}

// stayBelowRoot: no name leads above the root.
func stayBelowRoot(t *testing.T, s *suite) {
	p := s.pair(t)
	r := dialRaw(t, s.a, s.NFSPort, progNFS)
	for _, from := range []string{"/", "/etc"} {
		for _, name := range []string{"..", "../..", "../pi-b", "/", "/etc/passwd", "etc/../..", ".", "", "..\x00", "../" + filepath.Base(p.b.Dir)} {
			status, res, err := r.status(t, procLookup, slices.Concat(opaque(p.ha[from]), opaque(name)))
			if err != nil || status != 0 {
				continue
			}
			fh, _, ok := opened(res)
			if at, err := modified(t, r, fh); !ok || err != nil || at != uint32(markA.Unix()) {
				t.Errorf("LOOKUP %q in %s: handle %x, modified %d, %v", name, from, fh, at, err)
			}
		}
		for _, fh := range s.listed(t, r, p.ha[from]) {
			if at, err := modified(t, r, fh); err == nil && at != uint32(markA.Unix()) {
				t.Errorf("READDIRPLUS of %s: handle %x, modified %d", from, fh, at)
			}
		}
	}
}

// namingCalls are the calls that give a file a name or take it away.
var namingCalls = []struct {
	name string
	proc uint32
	args func(p pair, name string) []byte
}{
	{"CREATE", procCreate, named(words(0), onlyMode)},
	{"MKDIR", procMkdir, named(onlyMode)},
	{"SYMLINK", procSymlink, named(onlyMode, opaque("/"))},
	{"MKNOD", procMknod, named(words(typeFifo), onlyMode)},
	{"REMOVE", procRemove, named()},
	{"RMDIR", procRmdir, named()},
	{"RENAME to it", procRename, func(p pair, name string) []byte {
		return slices.Concat(opaque(p.ha["/etc"]), opaque("hostname"), opaque(p.ha["/"]), opaque(name))
	}},
	{"RENAME of it", procRename, func(p pair, name string) []byte {
		return slices.Concat(opaque(p.ha["/"]), opaque(name), opaque(p.ha["/etc"]), opaque("stolen"))
	}},
	{"LINK", procLink, func(p pair, name string) []byte {
		return slices.Concat(opaque(p.ha["/etc/hostname"]), opaque(p.ha["/"]), opaque(name))
	}},
}

func named(rest ...[]byte) func(pair, string) []byte {
	return func(p pair, name string) []byte {
		return slices.Concat(opaque(p.ha["/"]), opaque(name), slices.Concat(rest...))
	}
}

// nameNothingAbove: no call makes, moves or removes anything above the root, and
// no link that leads there can be mounted.
func nameNothingAbove(t *testing.T, s *suite) {
	p := s.pair(t)
	if !s.Writable {
		t.Skip("this server serves read-only")
	}
	outside := t.TempDir()
	for _, dir := range []string{"file", "dir/empty"} {
		must(t, "mkdir", os.MkdirAll(filepath.Join(outside, filepath.Dir(dir)), 0o755))
	}
	must(t, "write", os.WriteFile(filepath.Join(outside, "file"), []byte("secret"), 0o644))
	up, err := filepath.Rel(p.a.Dir, outside)
	must(t, "way up", err)
	r := dialRaw(t, s.a, s.NFSPort, progNFS)
	for _, c := range namingCalls {
		for _, to := range []string{outside, up} {
			for _, name := range []string{"file", "dir", "new"} {
				if status, _, err := r.status(t, c.proc, c.args(p, to+"/"+name)); err == nil && status == 0 {
					t.Errorf("%s %s/%s: done", c.name, to, name)
				}
			}
		}
	}
	var left []string
	entries, err := os.ReadDir(outside)
	must(t, "list", err)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if got := strings.Join(left, " "); got != "dir file" {
		t.Errorf("outside there is now %s", got)
	}
	wantUntouched(t, p.a, "pi-a")
	must(t, "symlink", errors.Join(os.Symlink(outside, filepath.Join(p.a.Dir, "usr/abs")), os.Symlink("../"+up, filepath.Join(p.a.Dir, "usr/rel"))))
	for _, name := range []string{"abs", "rel", "abs/dir", "rel/dir"} {
		_, err := s.mount(t, s.a, p.a.Path+"/usr/"+name)
		if err == nil {
			t.Errorf("mounted what usr/%s leads to", name)
		}
	}
}

// listed are the handles that READDIRPLUS gives of a folder's names, "." and ".."
// too.
func (s *suite) listed(t *testing.T, r *raw, dir []byte) (all [][]byte) {
	t.Helper()
	status, p, err := r.status(t, procReadDirPlus, slices.Concat(opaque(dir), words(0, 0, 0, 0, 8192, 8192)))
	if err != nil || status != 0 {
		t.Fatalf("READDIRPLUS: status %d, %v", status, err)
	}
	const attributes = 84
	word := func() uint32 {
		if len(p) < 4 {
			t.Fatal("READDIRPLUS: short answer")
		}
		v := binary.BigEndian.Uint32(p)
		p = p[4:]
		return v
	}
	skip := func(n int) {
		for range n / 4 {
			word()
		}
	}
	data := func() []byte {
		v, rest, ok := opened(p)
		if !ok {
			t.Fatal("READDIRPLUS: short answer")
		}
		p = rest
		return v
	}
	if word() != 0 {
		skip(attributes)
	}
	skip(8) // verifier
	for word() != 0 {
		skip(8) // number
		data()  // name
		skip(8) // cookie
		if word() != 0 {
			skip(attributes)
		}
		if word() != 0 {
			all = append(all, data())
		}
	}
	return all
}
