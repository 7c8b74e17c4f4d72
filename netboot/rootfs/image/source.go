package image

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"
)

// errNoDigest means that what a file is to be compared with is no digest.
var errNoDigest = errors.New("no SHA-256 to compare with")

// source is a file that somebody gave, open for as long as it is read.
type source struct {
	f      *os.File
	info   os.FileInfo
	digest string
}

func openSource(name string) (*source, error) {
	// A pipe in place of a file must not make this wait.
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is not a regular file", ErrFormat, name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &source{f: f, info: info}, nil
}

func (s *source) size() int64 { return s.info.Size() }

// hash computes the digest and compares it with want, if there is one: before
// anything looks at the content.
func (s *source) hash(ctx context.Context, want string, progress func(int64)) error {
	h := sha256.New()
	if _, err := io.Copy(h, &meter{ctx: ctx, r: io.NewSectionReader(s.f, 0, s.size()), report: progress}); err != nil {
		return err
	}
	s.digest = hex.EncodeToString(h.Sum(nil))
	want = strings.ToLower(strings.TrimSpace(want))
	switch raw, err := hex.DecodeString(want); {
	case want == "":
		return nil
	case err != nil || len(raw) != sha256.Size:
		return fmt.Errorf("%w: %w: %.80q", ErrDigest, errNoDigest, want)
	case want != s.digest:
		return fmt.Errorf("%w: the file has %s", ErrDigest, s.digest)
	}
	return nil
}

// unchanged refuses a file that somebody wrote to meanwhile.
func (s *source) unchanged() error {
	now, err := s.f.Stat()
	if err != nil {
		return err
	}
	if now.Size() != s.size() || !now.ModTime().Equal(s.info.ModTime()) {
		return fmt.Errorf("%w: the file changed while it was read", ErrDigest)
	}
	return nil
}

// packings are told by the first bytes; what a file is called says nothing.
var packings = []struct {
	name, magic string
	open        func(ctx context.Context, r io.Reader, s *source, lim Limits) (io.ReadCloser, error)
}{
	{"gzip", "\x1F\x8B", openGzip},
	{"xz", "\xFD7zXZ\x00", openXZ},
	{"zstd", "\x28\xB5\x2F\xFD", openZstd},
}

// foreign are formats that get a better answer than "not an image".
var foreign = []struct{ name, magic string }{
	{"a zip archive", "PK\x03\x04"},
	{"a bzip2 file", "BZh"},
	{"a 7z archive", "7z\xBC\xAF\x27\x1C"},
	{"a qcow2 disk", "QFI\xFB"},
	{"a squashfs file system", "hsqs"},
	{"an lzma file", "\x5D\x00\x00"},
}

func openGzip(_ context.Context, r io.Reader, _ *source, _ Limits) (io.ReadCloser, error) {
	return gzip.NewReader(r)
}

func openZstd(_ context.Context, r io.Reader, _ *source, lim Limits) (io.ReadCloser, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(uint64(max(lim.Memory, 1<<10))), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

func openXZ(ctx context.Context, r io.Reader, s *source, lim Limits) (io.ReadCloser, error) {
	found, err := scanXZ(ctx, s.f, s.size())
	switch {
	case found.dictionary > lim.Memory:
		return nil, fmt.Errorf("%w: unpacking needs %d MiB of memory, at most %d", ErrLimit, found.dictionary>>20, lim.Memory>>20)
	case found.unpacked > lim.Bytes:
		return nil, fmt.Errorf("%w: it unpacks to %d bytes, at most %d", ErrLimit, found.unpacked, lim.Bytes)
	case err != nil:
		return nil, err
	}
	x, err := xz.NewReader(r)
	return io.NopCloser(x), err
}

// content returns a reader of what is in the file, unpacked, and whether it was
// packed. It reports how many of the file's bytes were read.
func (s *source) content(ctx context.Context, lim Limits, progress func(int64)) (io.ReadCloser, bool, error) {
	head := make([]byte, 8)
	n, err := s.f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	head = head[:n]
	for _, p := range foreign {
		if bytes.HasPrefix(head, []byte(p.magic)) {
			return nil, false, fmt.Errorf("%w: it is %s", ErrFormat, p.name)
		}
	}
	m := &meter{ctx: ctx, r: io.NewSectionReader(s.f, 0, s.size()), report: progress}
	for _, p := range packings {
		if !bytes.HasPrefix(head, []byte(p.magic)) {
			continue
		}
		r, err := p.open(ctx, bufio.NewReaderSize(m, 1<<18), s, lim)
		if err != nil {
			return nil, false, unpackError(p.name, err)
		}
		return &unpacked{ReadCloser: r, name: p.name, left: lim.Bytes}, true, nil
	}
	return io.NopCloser(m), false, nil
}

// unpacked bounds what unpacking brings forth, and names its errors.
type unpacked struct {
	io.ReadCloser
	name string
	left int64
}

func (u *unpacked) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if u.left -= int64(n); u.left < 0 {
		return 0, fmt.Errorf("%w: it unpacks to more bytes than are allowed", ErrLimit)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = unpackError(u.name, err)
	}
	return n, err
}

// unpackError tells a file that ends early from one that is wrong.
func unpackError(name string, err error) error {
	var stopped *stoppedError
	switch {
	case errors.As(err, &stopped), errors.Is(err, ErrFormat), errors.Is(err, ErrTruncated), errors.Is(err, ErrLimit):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("%s: %w", name, ErrTruncated)
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("%w: %s: %w", ErrLimit, name, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrFormat, name, err)
}

// meter reports how much has been read, and ends when ctx does.
type meter struct {
	ctx    context.Context
	r      io.Reader
	done   int64
	report func(int64)
}

// stoppedError is ctx's, so that unpackers' wrapping does not hide it.
type stoppedError struct{ err error }

func (e *stoppedError) Error() string { return e.err.Error() }
func (e *stoppedError) Unwrap() error { return e.err }

func (m *meter) Read(p []byte) (int, error) {
	if m.ctx.Err() != nil {
		return 0, &stoppedError{context.Cause(m.ctx)}
	}
	n, err := m.r.Read(p)
	m.done += int64(n)
	if m.report != nil {
		m.report(m.done)
	}
	return n, err
}
