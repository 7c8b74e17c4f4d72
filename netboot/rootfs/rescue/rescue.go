package rescue

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"

	"picloud/netboot/rootfs/netbootable"
)

var (
	// ErrMissing means that an image lacks what a rescue system cannot do without.
	ErrMissing = errors.New("the image lacks what a rescue system needs")
	// ErrSystem means that there is no such system.
	ErrSystem = errors.New("no such system in memory")
	// ErrTooLarge means that an archive would be larger than a Pi can load.
	ErrTooLarge = errors.New("too large for a rescue system")
)

// Sizes of an archive in bytes.
const (
	// DefaultMaxBytes is less than what a Pi 4 or 5 with firmware of before
	// September 2025 can load by TFTP: 65,535 blocks of 1,024 bytes.
	DefaultMaxBytes = 60 << 20
	// rom is what boards with a boot ROM (Pi 3 and earlier) load in blocks of 512
	// bytes before their counter overflows.
	rom = 65535 * 512
	// spare is what the personal part may add.
	spare = 1 << 20
	// level of compression: 9 takes five times as long for half a per cent.
	level = 7
)

// Options say what to build.
type Options struct {
	// Image is the folder with an unpacked image. It is only read.
	Image string
	// Out is the file to write. It is there whole or not at all; a former one is
	// replaced.
	Out string
	// System is what is built; the zero value is a Rescue.
	System System
	// Bare leaves out all that is the image's: for boards that are simulated, as
	// those are that boot the built-in image.
	Bare bool
	// MaxBytes is how large it may become; 0 means [DefaultMaxBytes].
	MaxBytes int64
}

// Boot is what config.txt and the kernel's command line of a Pi need, besides
// what they say for every Pi.
type Boot struct {
	// Kernel is the kernel's file in the image's boot folder if it is not one
	// that the firmware looks for, and Folders are further folders of the image
	// with boot files (see [netbootable.Boot]).
	Kernel  string
	Folders []string
	// Initramfs is the name under which the Pi asks for the archive.
	Initramfs string
	// ConfigLines are lines for config.txt, which tell it so: auto_initramfs is
	// not needed, and firmware of before that knows them.
	ConfigLines []string
	// Args are words for the command line.
	Args []string
}

// Result is what [Build] made.
type Result struct {
	Boot     Boot
	File     string
	Bytes    int64 // of the file
	Unpacked int64 // of what is in it: the memory that it takes
	Entries  int
	SHA256   string
	// Kernels are the versions that it has modules for, and Modules how many.
	Kernels []string
	Modules int
	// Warnings tell what this rescue system will lack, in words for people.
	Warnings []string
}

// Build makes the base of a system of an image. The same image gives the same
// file, byte for byte. Errors: [ErrMissing], with what to install in the image;
// [ErrTooLarge]; [netbootable.ErrNotRoot]; ctx's; or the file system's.
func Build(ctx context.Context, o Options) (Result, error) {
	r, err := build(ctx, o)
	if err != nil {
		return Result{}, fmt.Errorf("rescue: build from %s: %w", o.Image, err)
	}
	return r, nil
}

func build(ctx context.Context, o Options) (Result, error) {
	boot, err := netbootable.Look(o.Image)
	if err != nil {
		return Result{}, err
	}
	root, err := os.OpenRoot(o.Image)
	if err != nil {
		return Result{}, err
	}
	defer root.Close()
	p := o.System.parts()
	if p.initramfs == "" {
		return Result{}, fmt.Errorf("%w: %q", ErrSystem, o.System)
	}
	r := Result{File: o.Out, Boot: newBoot(boot, &p)}
	l := newLinker(newTree(root))
	collect := r.collect
	if o.Bare {
		collect = func(_ context.Context, l *linker, p *parts) error { return l.addOwn(p) }
	}
	if err := collect(ctx, l, &p); err != nil {
		return Result{}, err
	}
	r.Unpacked, r.Entries = l.taken, len(l.entries)
	if err := r.write(ctx, l.tree, cmp.Or(o.MaxBytes, DefaultMaxBytes)); err != nil {
		return Result{}, err
	}
	if r.Bytes > rom-spare {
		r.Warnings = append(r.Warnings, fmt.Sprintf("it has %d MB: a Pi 3 may be unable to load more than 33 MB", r.Bytes>>20))
	}
	return r, nil
}

func newBoot(b netbootable.Boot, p *parts) Boot {
	return Boot{
		Kernel: b.Kernel, Folders: b.Folders, Initramfs: p.initramfs,
		ConfigLines: []string{"initramfs " + p.initramfs + " followkernel"},
		Args:        p.args,
	}
}

// collect chooses what goes in.
func (r *Result) collect(ctx context.Context, l *linker, p *parts) error {
	var err error
	if r.Warnings, err = l.addPrograms(p); err != nil {
		return err
	}
	kernels, err := l.kernels(r.Boot.Kernel)
	if err != nil {
		return err
	}
	count, without, err := l.addModules(ctx, kernels, p)
	switch {
	case err != nil:
		return err
	case len(kernels) > 0 && len(without) == len(kernels):
		return fmt.Errorf("%w: kernel %s cannot mount NFS, neither by itself nor by a module (install another kernel)", ErrMissing, strings.Join(without, ", "))
	case len(kernels) == 0:
		r.warn("no kernel modules in the image: it is taken to be of a kernel with %snetwork cards built in", built(p))
	case len(without) > 0:
		r.warn("kernel %s cannot mount NFS: with it there will be no root", strings.Join(without, ", "))
	}
	if count > 0 && !l.has("insmod") {
		return fmt.Errorf("%w: insmod (install kmod in the image)", ErrMissing)
	}
	r.Kernels = slices.DeleteFunc(kernels, func(v string) bool { return slices.Contains(without, v) })
	r.Modules = count
	return l.addOwn(p)
}

// built is what a kernel without modules has to have besides network cards.
func built(p *parts) string {
	if p.must == nfsModule {
		return "NFS and "
	}
	return ""
}

func (r *Result) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

// write makes the file: beside its place, flushed, and moved there.
func (r *Result) write(ctx context.Context, t *tree, limit int64) error {
	dir := filepath.Dir(r.File)
	f, err := os.CreateTemp(dir, "."+filepath.Base(r.File)+".new-")
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		os.Remove(f.Name())
	}()
	sum := sha256.New()
	out := &limited{w: io.MultiWriter(f, sum), limit: limit}
	if err := t.pack(ctx, out); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), r.File); err != nil {
		return err
	}
	r.Bytes, r.SHA256 = out.n, hex.EncodeToString(sum.Sum(nil))
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// limited refuses what would make a file too large.
type limited struct {
	w        io.Writer
	n, limit int64
}

func (l *limited) Write(p []byte) (int, error) {
	if l.n += int64(len(p)); l.n > l.limit {
		return 0, fmt.Errorf("%w: more than %d MB packed", ErrTooLarge, l.limit>>20)
	}
	return l.w.Write(p)
}

// pack writes the archive, compressed by the one method that every kernel
// unpacks. It is filled up to a multiple of 4, where the kernel looks for the
// next archive: behind a compressed one it takes "0" for the begin of another
// only there (init/initramfs.c, unpack_to_rootfs).
func (t *tree) pack(ctx context.Context, out *limited) error {
	buffered := bufio.NewWriterSize(out, 1<<20)
	z, err := gzip.NewWriterLevel(buffered, level)
	if err != nil {
		return err
	}
	a := newArchive(z)
	for _, name := range slices.Sorted(maps.Keys(t.entries)) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := t.packOne(a, name, t.entries[name]); err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := errors.Join(a.close(), z.Close(), buffered.Flush()); err != nil {
		return err
	}
	_, err = out.Write(make([]byte, -out.n&3))
	return err
}

func (t *tree) packOne(a *archive, name string, e entry) error {
	if err := a.next(member{name: name, mode: e.mode, rdev: e.rdev, size: e.size}); err != nil {
		return err
	}
	if e.source == "" {
		_, err := a.Write(e.data)
		return err
	}
	f, err := t.open(e.source)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(a, f, e.size); err != nil {
		return fmt.Errorf("%w (has the image changed meanwhile?)", err)
	}
	return nil
}
