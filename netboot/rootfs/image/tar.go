package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// extractTar unpacks a tarball into the tree, below prefix.
func extractTar(t *tree, r io.Reader, prefix string) error {
	tail := &tailReader{r: r}
	archive := tar.NewReader(tail)
	for {
		h, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			if !tail.zeros() {
				return fmt.Errorf("tar: %w: it has no end", ErrTruncated)
			}
			// What is behind it is read, so that the unpacker checks all.
			_, err := io.Copy(io.Discard, r)
			return err
		case err != nil:
			return tarError(err)
		}
		if err := extractEntry(t, archive, h, prefix); err != nil {
			return tarError(err)
		}
	}
}

func tarError(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("tar: %w", ErrTruncated)
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong):
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return err
}

// tailReader remembers whether the last whole block was zeros, as the end of a
// tarball is: without it, one that is cut between two files looks whole.
type tailReader struct {
	r   io.Reader
	run int64 // zero bytes at the end of what was read
}

func (t *tailReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if last := lastNonZero(p[:n]); last >= 0 {
		t.run = int64(n - last - 1)
	} else {
		t.run += int64(n)
	}
	return n, err
}

func lastNonZero(b []byte) int {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0 {
			return i
		}
	}
	return -1
}

func (t *tailReader) zeros() bool { return t.run >= 512 }

// extractEntry makes one file.
func extractEntry(t *tree, r io.Reader, h *tar.Header, prefix string) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := cleanPath(h.Name)
	if err != nil {
		return err
	}
	if name == "." && h.Typeflag != tar.TypeDir {
		return fmt.Errorf("%w: the top is no directory", ErrUnsafe)
	}
	if prefix != "" && name == "." {
		return nil // the boot folder's attributes are the root's to say
	}
	p := path.Join(prefix, name)
	a, err := tarAttrs(t, h, p)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return t.file(p, a, h.Size, func(w *hole) error { return w.copyAt(0, r, h.Size) })
	case tar.TypeDir:
		return t.mkdir(p, a)
	case tar.TypeSymlink:
		return t.symlink(p, h.Linkname, a)
	case tar.TypeLink:
		old, err := cleanPath(h.Linkname)
		if err != nil {
			return fmt.Errorf("hard link %.200q: %w", h.Name, err)
		}
		return t.link(p, path.Join(prefix, old))
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		if h.Devmajor < 0 || h.Devmajor > 1<<31 || h.Devminor < 0 || h.Devminor > 1<<31 {
			return fmt.Errorf("%w: device %.200q has number %d:%d", ErrUnsafe, p, h.Devmajor, h.Devminor)
		}
		return t.node(p, nodeKind[h.Typeflag], uint32(h.Devmajor), uint32(h.Devminor), a)
	}
	return fmt.Errorf("%w: %.200q has the unknown tar type %q", ErrFormat, h.Name, h.Typeflag)
}

var nodeKind = map[byte]fs.FileMode{
	tar.TypeChar:  fs.ModeDevice | fs.ModeCharDevice,
	tar.TypeBlock: fs.ModeDevice,
	tar.TypeFifo:  fs.ModeNamedPipe,
}

// noID is -1 as a user or group number, which chown(2) takes for "leave it".
const noID = 1<<32 - 1

// tarAttrs reads what a header says beside the content. GNU tar, bsdtar and
// mmdebstrap write attributes as SCHILY.xattr records. Access lists as text
// (SCHILY.acl) are not read.
func tarAttrs(t *tree, h *tar.Header, p string) (attrs, error) {
	if h.Uid < 0 || int64(h.Uid) >= noID || h.Gid < 0 || int64(h.Gid) >= noID {
		return attrs{}, fmt.Errorf("%w: %.200q belongs to %d:%d", ErrUnsafe, p, h.Uid, h.Gid)
	}
	a := attrs{
		mode: h.FileInfo().Mode(), uid: uint32(h.Uid), gid: uint32(h.Gid),
		atime: h.AccessTime, mtime: h.ModTime,
	}
	acl := false
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			if name == "" || len(name) > maxLabel || len(value) > 64<<10 || strings.ContainsRune(name, 0) {
				return attrs{}, fmt.Errorf("%w: attribute %.80q of %.200q", ErrUnsafe, name, p)
			}
			a.xattrs = append(a.xattrs, xattr{name, []byte(value)})
		}
		acl = acl || strings.HasPrefix(key, "SCHILY.acl.") && value != ""
	}
	if acl {
		t.lose("access list", p, errors.New("tarballs hold it as text, which is not read"))
	}
	return a, nil
}
