// Package rootfs makes the root file systems that Raspberry Pis boot from: the
// small built-in image of the demo, and the few files in a root that are one
// Pi's own.
package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrForeign means that a folder holds something that this package did not make.
var ErrForeign = errors.New("folder exists and is not a built-in image")

// stampName tells which version of the built-in image a tree was made from.
const stampName = "etc/picloud-image"

// entry is one file of the built-in image. mode's type bits say what it is.
type entry struct {
	path string
	mode fs.FileMode
	text string // a file's content, or a link's target
	size int    // of a synthetic file, instead of text
}

const (
	dir  = fs.ModeDir | 0o755
	link = fs.ModeSymlink | 0o777
	kib  = 1 << 10
)

// builtin is the whole image; parents come before what is in them. Boot files
// are those that the boot ROMs and firmware of the families ask for. They are
// far smaller than the real ones, since hundreds of simulated Pis fetch them
// in blocks of 512 bytes. config.txt and cmdline.txt are not here: each Pi's
// are made from its state.
var builtin = []entry{
	{path: "bin", mode: link, text: "usr/bin"},
	{path: "boot", mode: dir},
	{path: "boot/firmware", mode: dir},
	{path: "boot/firmware/bootcode.bin", mode: 0o644, size: 52_480},
	{path: "boot/firmware/start.elf", mode: 0o644, size: 96 * kib},
	{path: "boot/firmware/fixup.dat", mode: 0o644, size: 7 * kib},
	{path: "boot/firmware/start4.elf", mode: 0o644, size: 96 * kib},
	{path: "boot/firmware/fixup4.dat", mode: 0o644, size: 5 * kib},
	{path: "boot/firmware/kernel8.img", mode: 0o644, size: 192 * kib},
	{path: "boot/firmware/kernel_2712.img", mode: 0o644, size: 192 * kib},
	{path: "boot/firmware/bcm2710-rpi-3-b.dtb", mode: 0o644, size: 24 * kib},
	{path: "boot/firmware/bcm2710-rpi-3-b-plus.dtb", mode: 0o644, size: 24 * kib},
	{path: "boot/firmware/bcm2711-rpi-4-b.dtb", mode: 0o644, size: 24 * kib},
	{path: "boot/firmware/bcm2712-rpi-5-b.dtb", mode: 0o644, size: 24 * kib},
	{path: "boot/firmware/bcm2712d0-rpi-5-b.dtb", mode: 0o644, size: 24 * kib},
	{path: "boot/firmware/overlays", mode: dir},
	{path: "boot/firmware/overlays/overlay_map.dtb", mode: 0o644, size: 2 * kib},
	{path: "dev", mode: dir},
	{path: "etc", mode: dir},
	{path: "etc/fstab", mode: 0o644, text: "proc /proc proc defaults 0 0\n"},
	{path: "etc/group", mode: 0o644, text: "root:x:0:\nssh:x:101:\nnogroup:x:65534:\n"},
	{path: "etc/hostname", mode: 0o644, text: "picloud-demo\n"},
	{path: "etc/hosts", mode: 0o644, text: defaultHosts},
	{path: "etc/issue", mode: 0o644, text: "picloud built-in demo image: there is no operating system in it\n"},
	{path: "etc/machine-id", mode: 0o444},
	{path: "etc/os-release", mode: 0o644, text: `PRETTY_NAME="picloud built-in demo image"
NAME="picloud built-in demo image"
ID=picloud-demo
VARIANT="A stand-in for simulated Pis. It has no operating system and boots no real one."
`},
	{path: "etc/passwd", mode: 0o644, text: "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
	{path: "etc/shadow", mode: 0o640, text: "root:*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\n"},
	{path: "etc/ssh", mode: dir},
	{path: "etc/ssh/sshd_config", mode: 0o644, text: "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"},
	{path: "home", mode: dir},
	{path: "lib", mode: link, text: "usr/lib"},
	{path: "mnt", mode: dir},
	{path: "proc", mode: dir},
	{path: "root", mode: fs.ModeDir | 0o700},
	{path: "root/.ssh", mode: fs.ModeDir | 0o700},
	{path: "run", mode: dir},
	{path: "sbin", mode: link, text: "usr/sbin"},
	{path: "srv", mode: dir},
	{path: "sys", mode: dir},
	{path: "tmp", mode: fs.ModeDir | fs.ModeSticky | 0o777},
	{path: "usr", mode: dir},
	{path: "usr/bin", mode: dir},
	{path: "usr/lib", mode: dir},
	{path: "usr/sbin", mode: dir},
	{path: "usr/sbin/init", mode: 0o755, text: "#!/bin/sh\necho 'picloud built-in demo image: there is no operating system in it'\n"},
	{path: "var", mode: dir},
	{path: "var/lib", mode: dir},
	{path: "var/log", mode: dir},
	{path: "var/tmp", mode: fs.ModeDir | fs.ModeSticky | 0o777},
}

// content returns a file's bytes: its text, or a header that says what it is
// and then bytes that depend on nothing but the name.
func (e entry) content() []byte {
	if e.size == 0 {
		return []byte(e.text)
	}
	b := fmt.Appendf(nil, "picloud built-in demo image: stand-in for %s. It runs on no hardware.\n", filepath.Base(e.path))
	head := len(b)
	b = append(b, make([]byte, e.size-head)...)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(e.path))).Read(b[head:]) // never fails
	return b
}

// BuiltinVersion names the content of the built-in image: a digest over every
// path, mode and byte of it.
func BuiltinVersion() string { return builtinVersion() }

var builtinVersion = sync.OnceValue(func() string {
	h := sha256.New()
	for _, e := range builtin {
		c := e.content()
		fmt.Fprintf(h, "%s\x00%o\x00%d\x00", e.path, uint32(e.mode), len(c))
		h.Write(c)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
})

func stamp() string { return "picloud built-in demo image " + BuiltinVersion() + "\n" }

// Builtin makes folder target hold the built-in image. If it does already,
// nothing is done; an older version is replaced. The folder is there whole or
// not at all, whenever the process or the power is cut. Builtin must not run
// twice at once for one folder. Errors: [ErrForeign] if target exists and is
// something else; ctx's; or what the file system said.
func Builtin(ctx context.Context, target string) error {
	if err := makeBuiltin(ctx, target); err != nil {
		return fmt.Errorf("rootfs: make built-in image in %s: %w", target, err)
	}
	return nil
}

func makeBuiltin(ctx context.Context, target string) error {
	found, err := inspect(target)
	if err != nil || found == current {
		return err
	}
	parent, base := filepath.Split(filepath.Clean(target))
	if err := os.MkdirAll(filepath.Clean(parent), 0o755); err != nil {
		return err
	}
	fresh := filepath.Join(parent, "."+base+".new")
	if err := os.RemoveAll(fresh); err != nil { // left by a crash
		return err
	}
	if err := writeTree(ctx, fresh); err != nil {
		os.RemoveAll(fresh)
		return err
	}
	if found == absent {
		err = os.Rename(fresh, target)
	} else {
		// Afterwards fresh is the old image.
		err = unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, target, unix.RENAME_EXCHANGE)
	}
	if err != nil {
		os.RemoveAll(fresh)
		return err
	}
	if err := syncDir(filepath.Clean(parent)); err != nil {
		return err
	}
	return os.RemoveAll(fresh)
}

type finding int

const (
	absent finding = iota
	outdated
	current
)

// inspect tells what is at target. An empty folder counts as an outdated image.
func inspect(target string) (finding, error) {
	info, err := os.Lstat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return absent, nil
	case err != nil:
		return absent, err
	case !info.IsDir():
		return absent, ErrForeign
	}
	got, err := os.ReadFile(filepath.Join(target, stampName))
	if errors.Is(err, fs.ErrNotExist) {
		names, err := os.ReadDir(target)
		if err == nil && len(names) > 0 {
			err = ErrForeign
		}
		return outdated, err
	}
	if err != nil {
		return absent, err
	}
	if string(got) != stamp() {
		return outdated, nil
	}
	for _, e := range builtin {
		if !e.isIn(target) {
			return outdated, nil
		}
	}
	return current, nil
}

// isIn reports whether the entry is there with its mode and size.
func (e entry) isIn(target string) bool {
	info, err := os.Lstat(filepath.Join(target, e.path))
	if err != nil || info.Mode().Type() != e.mode.Type() {
		return false
	}
	if e.mode.Type() == fs.ModeSymlink {
		return true
	}
	if e.mode.IsRegular() && info.Size() != int64(max(e.size, len(e.text))) {
		return false
	}
	return info.Mode() == e.mode
}

func writeTree(ctx context.Context, top string) error {
	if err := os.Mkdir(top, 0o755); err != nil {
		return err
	}
	for _, e := range append(builtin[:len(builtin):len(builtin)], entry{path: stampName, mode: 0o644, text: stamp()}) {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := e.write(filepath.Join(top, e.path)); err != nil {
			return err
		}
	}
	if err := os.Chmod(top, 0o755); err != nil {
		return err
	}
	return syncTree(top)
}

func (e entry) write(p string) error {
	var err error
	switch e.mode.Type() {
	case fs.ModeSymlink:
		return os.Symlink(e.text, p)
	case fs.ModeDir:
		err = os.Mkdir(p, 0o700)
	default:
		err = os.WriteFile(p, e.content(), 0o600)
	}
	if err != nil {
		return err
	}
	return os.Chmod(p, e.mode) // the umask has no say
}

// syncTree flushes everything below top by one call.
func syncTree(top string) error {
	f, err := os.Open(top)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

func syncDir(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
