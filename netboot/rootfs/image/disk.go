package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"picloud/netboot/rootfs/image/ext4"
	"picloud/netboot/rootfs/image/fat"
	"picloud/netboot/rootfs/image/ptable"
)

// disk is what a disk image has for a root.
type disk struct {
	boot *fat.FS // may be nil
	root *ext4.FS
}

// openDisk finds the file systems by their content; the table's types are often
// wrong.
func openDisk(r io.ReaderAt, size int64) (*disk, error) {
	parts, err := ptable.Read(r, size)
	if errors.Is(err, ptable.ErrNoTable) {
		return nil, fmt.Errorf("%w: neither a tarball nor a disk with a partition table", ErrFormat)
	}
	if err != nil {
		return nil, err
	}
	var d disk
	for _, p := range parts {
		part := io.NewSectionReader(r, p.Offset, p.Size)
		root, err := ext4.Open(part, p.Size)
		switch {
		case errors.Is(err, ext4.ErrNotExt4):
		case err != nil:
			return nil, fmt.Errorf("partition %d: %w", p.Number, err)
		case d.root == nil && isRoot(root):
			d.root = root
		}
		if d.boot != nil || err == nil {
			continue
		}
		boot, err := fat.Open(part, p.Size)
		if err != nil && !errors.Is(err, fat.ErrNotFAT) {
			return nil, fmt.Errorf("partition %d: %w", p.Number, err)
		}
		d.boot = boot
	}
	if d.root == nil {
		return nil, fmt.Errorf("%w: no partition is an ext4 file system with /etc", ErrNotRoot)
	}
	return &d, nil
}

func isRoot(f *ext4.FS) bool {
	etc, err := f.Lookup("etc")
	return err == nil && etc.Mode.IsDir()
}

// size is about how many bytes there are to copy, for progress.
func (d *disk) size() int64 {
	n := d.root.Used()
	if d.boot != nil {
		n += d.boot.Size()
	}
	return n
}

// extractExt4 copies a whole file system into the tree.
func extractExt4(t *tree, f *ext4.FS) error {
	c := &ext4Copy{t: t, f: f, paths: map[ext4.Inode]string{}}
	return c.dir(ext4.Root, ".")
}

type ext4Copy struct {
	t     *tree
	f     *ext4.FS
	paths map[ext4.Inode]string // where each inode was put first
}

func (c *ext4Copy) dir(n ext4.Inode, p string) error {
	file, err := c.f.File(n)
	if err != nil {
		return err
	}
	if err := c.make(file, p); err != nil {
		return err
	}
	if !file.Mode.IsDir() {
		return nil
	}
	return c.f.Dir(file, func(e ext4.Entry) error {
		if p == "." && e.Name == "lost+found" {
			return nil // e2fsck's, and of no use in a folder
		}
		name, err := cleanPath(e.Name)
		if err != nil || name != e.Name {
			return fmt.Errorf("%w: name %.200q in %.200q", ErrUnsafe, e.Name, p)
		}
		child, err := cleanPath(path.Join(p, name))
		if err != nil {
			return err
		}
		return c.entry(e.Inode, child)
	})
}

// entry makes a name: a hard link if its inode has one already.
func (c *ext4Copy) entry(n ext4.Inode, p string) error {
	if old, ok := c.paths[n]; ok {
		return c.t.link(p, old) // which refuses a directory in two places
	}
	c.paths[n] = p
	return c.dir(n, p)
}

func (c *ext4Copy) make(file *ext4.File, p string) error {
	a := attrs{mode: file.Mode, uid: file.UID, gid: file.GID, atime: file.Atime, mtime: file.Mtime}
	if a.uid == noID || a.gid == noID {
		return fmt.Errorf("%w: %.200q belongs to %d:%d", ErrUnsafe, p, a.uid, a.gid)
	}
	list, err := c.f.Xattrs(file)
	if err != nil {
		return fmt.Errorf("%.200q: %w", p, err)
	}
	for _, x := range list {
		a.xattrs = append(a.xattrs, xattr{x.Name, x.Value})
	}
	switch file.Mode.Type() {
	case 0:
		return c.t.file(p, a, file.Size, func(w *hole) error {
			return c.f.Content(file, func(s ext4.Segment) error { return w.copyAt(s.Offset, s.Data, s.Length) })
		})
	case fs.ModeDir:
		c.paths[file.Inode] = p
		return c.t.mkdir(p, a)
	case fs.ModeSymlink:
		target, err := c.f.Link(file)
		if err != nil {
			return fmt.Errorf("%.200q: %w", p, err)
		}
		return c.t.symlink(p, target, a)
	}
	return c.t.node(p, file.Mode.Type(), file.Major, file.Minor, a)
}

// extractFAT copies a boot partition into the tree at prefix. Its files belong
// to root and may be read by all, as when it is mounted.
func extractFAT(t *tree, f *fat.FS, prefix string) error {
	// A mounted boot partition hides what is in its mount point.
	t.replace = true
	defer func() { t.replace = false }()
	if err := t.mkdir(prefix, attrs{mode: 0o755}); err != nil {
		return err
	}
	var each func(dir string) func(fat.Entry) error
	each = func(dir string) func(fat.Entry) error {
		return func(e fat.Entry) error {
			name, err := cleanPath(e.Name)
			if err != nil || name != e.Name {
				return fmt.Errorf("%w: name %.200q in the boot partition", ErrUnsafe, e.Name)
			}
			p, err := cleanPath(path.Join(dir, name))
			if err != nil {
				return err
			}
			a := attrs{mode: 0o644, atime: e.Mtime, mtime: e.Mtime}
			if e.Dir {
				a.mode = 0o755
				if err := t.mkdir(p, a); err != nil {
					return err
				}
				return f.Dir(e, each(p))
			}
			return t.file(p, a, e.Size, func(w *hole) error { return w.copyAt(0, f.Content(e), e.Size) })
		}
	}
	return f.Root(each(prefix))
}

const spoolPrefix = ".picloud-spool-"

// spool unpacks a disk image into a file below dir, since its parts are read out
// of order. Stretches of zeros take no space. The file has no name, so that it is
// gone with the process.
func spool(t *tree, dir string, r io.Reader) (*os.File, int64, error) {
	f, err := os.CreateTemp(dir, spoolPrefix)
	if err != nil {
		return nil, 0, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	w, size := &hole{t: t, f: f}, int64(0)
	for {
		n, err := io.ReadFull(r, t.buf)
		if n > 0 {
			if err := w.write(size, t.buf[:n]); err != nil {
				f.Close()
				return nil, 0, err
			}
			size += int64(n)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrTruncated):
			return f, size, f.Truncate(size)
		case err != nil:
			f.Close()
			return nil, 0, err
		}
	}
}
