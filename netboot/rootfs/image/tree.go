package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Lost is what could not be kept of an image's files.
type Lost struct {
	What    string `json:"what"`    // owner, device, capability, attribute, access list
	Count   int    `json:"count"`   // files
	Example string `json:"example"` // the first of them
	Why     string `json:"why"`
}

// attrs are what a file has beside its content.
type attrs struct {
	mode         fs.FileMode // permissions, set-uid, set-gid, sticky
	uid, gid     uint32
	atime, mtime time.Time
	xattrs       []xattr
}

type xattr struct {
	name  string
	value []byte
}

const (
	maxPath  = 3500 // leaves room for the place where it is unpacked (PATH_MAX)
	maxLabel = 255  // NAME_MAX
	maxDepth = 128
	maxLink  = 4095
)

// cleanPath checks a name of a file in an image and returns it without "./"
// before it and "/" behind, "." for the top.
func cleanPath(name string) (string, error) {
	unsafe := func(why string) (string, error) {
		return "", fmt.Errorf("%w: name %.200q %s", ErrUnsafe, name, why)
	}
	switch {
	case name == "":
		return unsafe("is empty")
	case name[0] == '/':
		return unsafe("is absolute")
	case len(name) > maxPath:
		return unsafe("is too long")
	}
	for i := range len(name) {
		if name[i] < 0x20 || name[i] == 0x7F {
			return unsafe("has a control character")
		}
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return unsafe("leads out with ..")
		case len(part) > maxLabel:
			return unsafe("is too long")
		}
		parts = append(parts, part)
	}
	if len(parts) > maxDepth {
		return unsafe("is too deep")
	}
	if len(parts) == 0 {
		return ".", nil
	}
	return strings.Join(parts, "/"), nil
}

// tree fills a folder that nobody else can reach. No name is followed through a
// link, not even within: every parent is opened with openat2(2) beneath the
// top, RESOLVE_NO_SYMLINKS, and every file is made anew.
type tree struct {
	ctx     context.Context
	top     int // file descriptor
	lim     Limits
	entries int
	devices int
	bytes   int64
	replace bool // a file takes the place of one that is there
	dirs    map[string]attrs
	lost    map[string]*Lost
	parent  int    // the last parent that was opened, or -1
	inside  string // its path
	buf     []byte
	wrote   func(int64) // bytes of content, for progress
}

func newTree(ctx context.Context, dir string, lim Limits) (*tree, error) {
	top, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return &tree{
		ctx: ctx, top: top, parent: -1, lim: lim, buf: make([]byte, 1<<18),
		dirs: map[string]attrs{}, lost: map[string]*Lost{}, wrote: func(int64) {},
	}, nil
}

func (t *tree) close() {
	t.forget()
	_ = unix.Close(t.top)
}

func (t *tree) forget() {
	if t.parent >= 0 {
		_ = unix.Close(t.parent)
	}
	t.parent, t.inside = -1, ""
}

// count counts an entry, and ends the work when ctx does.
func (t *tree) count() error {
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	if t.entries++; t.entries > t.lim.Entries {
		return fmt.Errorf("%w: more than %d files", ErrLimit, t.lim.Entries)
	}
	return nil
}

// at returns the open parent of p, and p's last part.
func (t *tree) at(p string) (int, string, error) {
	dir, name := path.Dir(p), path.Base(p)
	if t.parent >= 0 && t.inside == dir {
		return t.parent, name, nil
	}
	t.forget()
	fd, err := t.open(dir)
	if errors.Is(err, unix.ENOENT) { // a tarball need not hold directories
		if err := t.mkdir(dir, attrs{mode: 0o755}); err != nil {
			return -1, "", err
		}
		fd, err = t.open(dir)
	}
	if err != nil {
		return -1, "", err
	}
	t.forget()
	t.parent, t.inside = fd, dir
	return fd, name, nil
}

func (t *tree) open(dir string) (int, error) {
	fd, err := unix.Openat2(t.top, dir, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENOTDIR):
		return -1, fmt.Errorf("%w: a file is to be written through %.200q, which is no directory", ErrUnsafe, dir)
	case err != nil:
		return -1, pathError("open", dir, err)
	}
	return fd, nil
}

func pathError(op, p string, err error) error {
	return &fs.PathError{Op: op, Path: p, Err: err}
}

// create makes a new file by one system call; one that exists is removed first
// if the tree says so.
func (t *tree) create(p string, try func(parent int, name string) error) error {
	parent, name, err := t.at(p)
	if err != nil {
		return err
	}
	err = try(parent, name)
	if errors.Is(err, unix.EEXIST) && t.replace {
		if err := unix.Unlinkat(parent, name, 0); err == nil {
			return try(parent, name)
		}
	}
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: %.200q is in it twice", ErrUnsafe, p)
	}
	return err
}

// mkdir makes a directory. One that exists gets the new attributes, all of
// which are set at the end: what is put into it would change its time.
func (t *tree) mkdir(p string, a attrs) error {
	if p != "." {
		if err := t.count(); err != nil {
			return err
		}
		parent, name, err := t.at(p)
		if err != nil {
			return err
		}
		err = unix.Mkdirat(parent, name, 0o700)
		if errors.Is(err, unix.EEXIST) {
			var st unix.Stat_t
			if unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
				return fmt.Errorf("%w: %.200q is in it twice", ErrUnsafe, p)
			}
		} else if err != nil {
			return pathError("mkdir", p, err)
		}
	}
	t.dirs[p] = a
	return nil
}

// file makes a regular file of size bytes; fill writes what of it is not zero.
func (t *tree) file(p string, a attrs, size int64, fill func(*hole) error) error {
	if err := t.count(); err != nil {
		return err
	}
	if size < 0 || size > t.lim.Bytes-t.bytes {
		return fmt.Errorf("%w: with %.200q its files have more than %d bytes", ErrLimit, p, t.lim.Bytes)
	}
	t.bytes += size
	fd := -1
	err := t.create(p, func(parent int, name string) error {
		var err error
		fd, err = unix.Openat(parent, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return pathOr("create", p, err)
	}
	f := os.NewFile(uintptr(fd), p)
	err = fill(&hole{t: t, f: f, size: size})
	if err == nil {
		err = f.Truncate(size)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%.200q: %w", p, err)
	}
	return t.dress(p, a, false)
}

// pathOr names the path unless err does.
func pathOr(op, p string, err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return pathError(op, p, err)
	}
	return err
}

// hole writes a file and leaves out blocks of zeros.
type hole struct {
	t    *tree
	f    *os.File
	size int64
}

const holeBlock = 4096

// copyAt writes n bytes of r at offset off. It fails with [ErrTruncated] if r
// has fewer.
func (h *hole) copyAt(off int64, r io.Reader, n int64) error {
	if off < 0 || n < 0 || off > h.size-n {
		return fmt.Errorf("%w: content beyond the file's size", ErrFormat)
	}
	for n > 0 {
		if h.t.ctx.Err() != nil {
			return context.Cause(h.t.ctx)
		}
		b := h.t.buf[:min(n, int64(len(h.t.buf)))]
		if _, err := io.ReadFull(r, b); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return ErrTruncated
			}
			return err
		}
		if err := h.write(off, b); err != nil {
			return err
		}
		off += int64(len(b))
		n -= int64(len(b))
		h.t.wrote(int64(len(b)))
	}
	return nil
}

// write writes the stretches of b that hold something else than zeros.
func (h *hole) write(off int64, b []byte) error {
	for start := 0; start < len(b); {
		end := start
		for end < len(b) && !zero(b[end:min(end+holeBlock, len(b))]) {
			end = min(end+holeBlock, len(b))
		}
		if end > start {
			if _, err := h.f.WriteAt(b[start:end], off+int64(start)); err != nil {
				return err
			}
		}
		start = max(end, start)
		for start < len(b) && zero(b[start:min(start+holeBlock, len(b))]) {
			start = min(start+holeBlock, len(b))
		}
	}
	return nil
}

func zero(b []byte) bool {
	for len(b) >= 8 {
		if b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7] != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// symlink makes a symbolic link. Its target may be anything that fits: it is
// never followed here, and means what the Pi's own root says.
func (t *tree) symlink(p, target string, a attrs) error {
	if err := t.count(); err != nil {
		return err
	}
	if target == "" || len(target) > maxLink || strings.ContainsAny(target, "\x00\n") {
		return fmt.Errorf("%w: target %.200q of link %.200q", ErrUnsafe, target, p)
	}
	err := t.create(p, func(parent int, name string) error { return unix.Symlinkat(target, parent, name) })
	if err != nil {
		return pathOr("symlink", p, err)
	}
	return t.dress(p, a, true)
}

// link makes a hard link to a file that the image has had before.
func (t *tree) link(p, old string) error {
	if err := t.count(); err != nil {
		return err
	}
	dir, err := t.open(path.Dir(old))
	if err != nil {
		return fmt.Errorf("hard link %.200q: %w", p, err)
	}
	defer unix.Close(dir)
	var st unix.Stat_t
	if err := unix.Fstatat(dir, path.Base(old), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("%w: hard link %.200q to %.200q, which is not in it", ErrUnsafe, p, old)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return fmt.Errorf("%w: hard link %.200q to a directory", ErrUnsafe, p)
	}
	err = t.create(p, func(parent int, name string) error { return unix.Linkat(dir, path.Base(old), parent, name, 0) })
	return pathOr("link", p, err)
}

// node makes a device, a pipe or a socket.
func (t *tree) node(p string, kind fs.FileMode, major, minor uint32, a attrs) error {
	if err := t.count(); err != nil {
		return err
	}
	mode, dev := uint32(unix.S_IFIFO), 0
	switch {
	case kind&fs.ModeSocket != 0:
		mode = unix.S_IFSOCK
	case kind&fs.ModeDevice != 0:
		mode = unix.S_IFBLK
		if kind&fs.ModeCharDevice != 0 {
			mode = unix.S_IFCHR
		}
		if t.devices++; t.devices > t.lim.Devices {
			return fmt.Errorf("%w: more than %d devices", ErrLimit, t.lim.Devices)
		}
		if major > 0xFFF || minor > 0xFFFFF {
			return fmt.Errorf("%w: device %.200q has number %d:%d", ErrUnsafe, p, major, minor)
		}
		dev = int(unix.Mkdev(major, minor))
	}
	err := t.create(p, func(parent int, name string) error { return unix.Mknodat(parent, name, mode|0o600, dev) })
	if errors.Is(err, unix.EPERM) && kind&fs.ModeDevice != 0 {
		t.lose("device", p, err)
		return nil
	}
	if err != nil {
		return pathOr("mknod", p, err)
	}
	return t.dress(p, a, false)
}

// lose notes what could not be kept.
func (t *tree) lose(what, p string, why error) {
	l := t.lost[what]
	if l == nil {
		l = &Lost{What: what, Example: p, Why: why.Error()}
		t.lost[what] = l
	}
	l.Count++
}

// allLost returns what could not be kept, by name.
func (t *tree) allLost() []Lost {
	var list []Lost
	for _, l := range t.lost {
		list = append(list, *l)
	}
	slices.SortFunc(list, func(a, b Lost) int { return strings.Compare(a.What, b.What) })
	return list
}

// dress sets a file's owner, then its mode, which a new owner clears of set-uid,
// then attributes, which a new owner clears of capabilities, then its times.
func (t *tree) dress(p string, a attrs, link bool) error {
	parent, name, err := t.at(p)
	if err != nil {
		return err
	}
	if err := unix.Fchownat(parent, name, int(a.uid), int(a.gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EINVAL) {
			return pathError("chown", p, err)
		}
		t.lose("owner", p, err)
	}
	if !link {
		if err := unix.Fchmodat(parent, name, unixMode(a.mode), 0); err != nil {
			return pathError("chmod", p, err)
		}
	}
	self := fmt.Sprintf("/proc/self/fd/%d/%s", parent, name)
	if p == "." {
		self = fmt.Sprintf("/proc/self/fd/%d", t.top)
	}
	for _, x := range a.xattrs {
		if err := setXattr(self, x, p == "."); err != nil {
			t.lose(lostName(x.name), p, err)
		}
	}
	times := []unix.Timespec{timespec(a.atime, a.mtime), timespec(a.mtime, a.mtime)}
	if err := unix.UtimesNanoAt(parent, name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return pathError("utimensat", p, err)
	}
	return nil
}

func setXattr(file string, x xattr, follow bool) error {
	if follow {
		return unix.Setxattr(file, x.name, x.value, 0)
	}
	return unix.Lsetxattr(file, x.name, x.value, 0)
}

// lostName is what people call an attribute.
func lostName(attr string) string {
	switch {
	case attr == "security.capability":
		return "capability"
	case strings.HasPrefix(attr, "system.posix_acl_"):
		return "access list"
	}
	return "attribute"
}

// timespec returns a time that file systems can keep; without one it is the
// other's, or the epoch.
func timespec(at, other time.Time) unix.Timespec {
	if at.IsZero() {
		at = other
	}
	if at.IsZero() {
		return unix.Timespec{}
	}
	sec := min(max(at.Unix(), math.MinInt32), 1<<34-1)
	return unix.Timespec{Sec: sec, Nsec: int64(at.Nanosecond())}
}

func unixMode(m fs.FileMode) uint32 {
	u := uint32(m.Perm())
	for bit, v := range map[fs.FileMode]uint32{fs.ModeSetuid: unix.S_ISUID, fs.ModeSetgid: unix.S_ISGID, fs.ModeSticky: unix.S_ISVTX} {
		if m&bit != 0 {
			u |= v
		}
	}
	return u
}

// finish gives the directories their attributes.
func (t *tree) finish() error {
	paths := make([]string, 0, len(t.dirs))
	for p := range t.dirs {
		paths = append(paths, p)
	}
	// From the bottom up: a directory may lose the right to be entered.
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(b, a) })
	for _, p := range paths {
		if t.ctx.Err() != nil {
			return context.Cause(t.ctx)
		}
		if p == "." {
			continue
		}
		if err := t.dress(p, t.dirs[p], false); err != nil {
			return err
		}
	}
	t.forget()
	top, ok := t.dirs["."]
	if !ok {
		top = attrs{mode: 0o755, mtime: time.Now()}
	}
	return t.dress(".", top, false)
}
