package image

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what [Add] adds.
type Options struct {
	// Name is what the image is to be called: 1 to 63 small letters, digits, and
	// . - _ between them.
	Name string
	// Dir is the folder of images. It is made, with mode 0700, if it is not
	// there: images have set-uid programs and devices in them.
	Dir string
	// Source is the file: a disk image (.img) with an MBR or a GPT, a FAT boot
	// partition and an ext4 root; or a tarball of a root. Either may be packed
	// with xz, gzip or zstd. What it is called does not matter.
	Source string
	// SHA256 is the digest of Source in hexadecimal; empty means not to check.
	SHA256 string
	// Boot is a tarball with the boot files, if Source is a tarball without
	// them. BootSHA256 is its digest.
	Boot, BootSHA256 string
	// Spool is the folder in which a packed disk image is unpacked before its
	// files are copied: it needs room for what the image holds. Empty means in
	// Dir, which then needs twice the room. No file is ever seen there.
	Spool string
	// Limits bound what the image may use.
	Limits Limits
	// Progress is called now and then, and at the end with done == total. The
	// unit is about a byte of Source; total never changes. It must not block.
	Progress func(done, total int64)
	// Now is the time; nil means time.Now.
	Now func() time.Time
}

// Add makes an image out of a file. It is there whole when Add returns nil, and
// not at all otherwise, whenever the process or the power is cut. Errors, each
// an [*Error]: [ErrInvalidName], [ErrExists], [ErrDigest], [ErrFormat],
// [ErrTruncated], [ErrLimit], [ErrUnsafe], [ErrNotRoot]; those of the
// subpackages for a file system that is corrupt; ctx's; or the file system's.
func Add(ctx context.Context, o Options) (Info, error) {
	if err := checkName(o.Name); err != nil {
		return Info{}, wrap("add", o.Name, err)
	}
	o.Limits = o.Limits.orDefault()
	info, err := add(ctx, o)
	if err != nil {
		return Info{}, wrap("add", o.Name, err)
	}
	return info, nil
}

func add(ctx context.Context, o Options) (Info, error) {
	target := filepath.Join(o.Dir, o.Name)
	if _, err := os.Lstat(target); err == nil {
		return Info{}, ErrExists
	}
	a := &adding{Options: o}
	if err := a.open(ctx); err != nil {
		return Info{}, err
	}
	defer a.close()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return Info{}, err
	}
	if err := sweep(o.Dir); err != nil {
		return Info{}, err
	}
	s, err := newStage(o.Dir, freshPrefix)
	if err != nil {
		return Info{}, err
	}
	defer func() { _ = s.remove() }() // what stays, the next sweep removes
	if err := a.unpack(ctx, s.path); err != nil {
		return Info{}, err
	}
	if err := publish(filepath.Join(s.path, "root"), target); err != nil {
		return Info{}, err
	}
	if err := s.remove(); err != nil {
		return Info{}, err
	}
	a.steps.finish()
	return Show(o.Dir, o.Name)
}

// publish moves a whole tree into place; what is in it is on the disk before
// its name is.
func publish(fresh, target string) error {
	f, err := os.Open(fresh)
	if err != nil {
		return err
	}
	err = os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	err = unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, target, unix.RENAME_NOREPLACE)
	switch {
	case errors.Is(err, unix.EEXIST):
		return ErrExists
	case err != nil:
		return &os.LinkError{Op: "rename", Old: fresh, New: target, Err: err}
	}
	return syncDir(filepath.Dir(target))
}

// adding is one run of Add.
type adding struct {
	Options
	root, boot *source // boot may be nil
	steps      *steps
}

// open opens the files and checks their digests.
func (a *adding) open(ctx context.Context) error {
	var err error
	if a.root, err = openSource(a.Source); err != nil {
		return err
	}
	total := a.root.size()
	if a.Boot != "" {
		if a.boot, err = openSource(a.Boot); err != nil {
			a.close()
			return err
		}
		total += a.boot.size()
	}
	a.steps = &steps{total: max(3*total, 1), report: a.Progress}
	err = a.root.hash(ctx, a.SHA256, a.steps.add())
	if err == nil && a.boot != nil {
		err = a.boot.hash(ctx, a.BootSHA256, a.steps.add())
	}
	if err != nil {
		a.close()
	}
	return err
}

func (a *adding) close() {
	for _, s := range []*source{a.root, a.boot} {
		if s != nil {
			s.f.Close()
		}
	}
}

// unpack makes dir/root.
func (a *adding) unpack(ctx context.Context, dir string) error {
	top := filepath.Join(dir, "root")
	if err := os.Mkdir(top, 0o755); err != nil {
		return err
	}
	t, err := newTree(ctx, top, a.Limits)
	if err != nil {
		return err
	}
	defer t.close()
	if err := a.fill(ctx, t, dir); err != nil {
		return err
	}
	if a.boot != nil {
		if err := a.fillBoot(ctx, t, top); err != nil {
			return err
		}
	}
	if err := t.finish(); err != nil {
		return err
	}
	for _, s := range []*source{a.root, a.boot} {
		if s != nil {
			if err := s.unchanged(); err != nil {
				return err
			}
		}
	}
	return a.describe(t, top)
}

// fill unpacks the source, whatever it is.
func (a *adding) fill(ctx context.Context, t *tree, dir string) error {
	// A disk image that is packed is read twice: once to unpack it, once to
	// copy it. The middle third of the progress is the first of these.
	read := a.steps.addScaled(1, 1)
	r, packed, err := a.root.content(ctx, a.Limits, func(n int64) { read(n) })
	if err != nil {
		return err
	}
	defer r.Close()
	head := make([]byte, 512)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	whole := io.MultiReader(bytes.NewReader(head[:n]), r)
	if n == 512 && string(head[257:262]) == "ustar" {
		return extractTar(t, whole, "")
	}
	if a.boot != nil {
		return fmt.Errorf("%w: a boot tarball goes with a root tarball only", ErrFormat)
	}
	disk, size := a.root.f, a.root.size()
	if packed {
		if disk, size, err = spool(t, cmp.Or(a.Spool, dir), whole); err != nil {
			return err
		}
		defer disk.Close()
	}
	return a.fillDisk(t, disk, size)
}

func (a *adding) fillDisk(t *tree, r io.ReaderAt, size int64) error {
	d, err := openDisk(r, size)
	if err != nil {
		return err
	}
	var done int64
	report := a.steps.addScaled(a.root.size(), max(d.size(), 1))
	t.wrote = func(n int64) {
		done += n
		report(min(done, d.size()))
	}
	if err := extractExt4(t, d.root); err != nil {
		return err
	}
	if d.boot == nil {
		return nil
	}
	prefix, err := a.bootPrefix(t)
	if err != nil {
		return err
	}
	return extractFAT(t, d.boot, prefix)
}

// bootPrefix asks the tree so far where its boot partition belongs.
func (a *adding) bootPrefix(t *tree) (string, error) {
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", t.top))
	if err != nil {
		return "", err
	}
	defer root.Close()
	return bootDir(root), nil
}

func (a *adding) fillBoot(ctx context.Context, t *tree, _ string) error {
	prefix, err := a.bootPrefix(t)
	if err != nil {
		return err
	}
	r, _, err := a.boot.content(ctx, a.Limits, a.steps.add())
	if err != nil {
		return err
	}
	defer r.Close()
	if err := extractTar(t, r, prefix); err != nil {
		return fmt.Errorf("boot tarball: %w", err)
	}
	return nil
}

// describe checks that the tree is a root, and writes into it what it is.
func (a *adding) describe(t *tree, top string) error {
	root, err := os.OpenRoot(top)
	if err != nil {
		return err
	}
	defer root.Close()
	now := time.Now
	if a.Now != nil {
		now = a.Now
	}
	info := Info{
		Name: a.Name, Source: filepath.Base(a.Source), SHA256: a.root.digest, Added: now().UTC().Truncate(time.Second),
		Files: t.entries, Bytes: t.bytes, Lost: t.allLost(),
	}
	look(root, &info)
	switch etc, err := root.Lstat("etc"); {
	case err != nil || !etc.IsDir():
		return fmt.Errorf("%w: it has no folder etc", ErrNotRoot)
	case info.Arch == "":
		return fmt.Errorf("%w: none of its programs is for a processor that is known", ErrNotRoot)
	}
	b, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	if err := root.RemoveAll(stampName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(stampName, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Chmod(0o644), f.Close())
}

// steps adds up the progress of several passes.
type steps struct {
	total, done, told int64
	report            func(done, total int64)
}

// add starts a pass; the function takes how far it is, in total.
func (s *steps) add() func(int64) { return s.addScaled(1, 1) }

// addScaled starts a pass whose units count mul/div.
func (s *steps) addScaled(mul, div int64) func(int64) {
	base := s.done
	return func(n int64) {
		s.done = max(s.done, min(base+int64(float64(n)*float64(mul)/float64(div)), s.total))
		if s.report != nil && s.done < s.total && s.done-s.told >= max(s.total/1000, 1) {
			s.told = s.done
			s.report(s.done, s.total)
		}
	}
}

func (s *steps) finish() {
	if s.report != nil {
		s.report(s.total, s.total)
	}
}
