package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Release is what a root says of itself in os-release(5).
type Release struct {
	ID       string `json:"id"`       // raspbian, debian
	Version  string `json:"version"`  // 12
	Codename string `json:"codename"` // bookworm
	Pretty   string `json:"pretty"`   // Debian GNU/Linux 12 (bookworm)
}

// maxRead bounds the files that are looked into.
const maxRead = 64 << 10

// readBeneath returns the first limit bytes of a regular file, following links
// within the root only.
func readBeneath(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is not a regular file", name))
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// machines are ELF's numbers of the architectures that Debian has for Pis and
// for the machines that stand in for them.
var machines = map[uint16]string{3: "i386", 40: "armhf", 62: "amd64", 183: "arm64", 243: "riscv64"}

// programs are looked at to learn the architecture. Links between them may be
// absolute, which os.Root does not follow; then the next one is tried.
var programs = []string{
	"bin/sh", "usr/bin/sh", "usr/bin/dash", "bin/dash", "usr/bin/bash", "bin/bash",
	"usr/bin/busybox", "bin/busybox", "sbin/init", "lib/systemd/systemd", "usr/lib/systemd/systemd",
}

// architecture returns Debian's name for what the root's programs run on, and
// "" if there is none.
func architecture(root *os.Root) string {
	for _, p := range programs {
		if b, err := readBeneath(root, p, 52); err == nil {
			if a := elfArch(b); a != "" {
				return a
			}
		}
	}
	return ""
}

// elfArch reads an ELF header (elf(5)); an ARM one tells in its flags (ARM IHI
// 0044, EF_ARM_ABI_FLOAT_SOFT) whether it is Debian's armel.
func elfArch(b []byte) string {
	if len(b) < 52 || string(b[:4]) != "\x7FELF" || b[5] != 1 {
		return ""
	}
	arch := machines[binary.LittleEndian.Uint16(b[18:])]
	if arch == "armhf" && binary.LittleEndian.Uint32(b[36:])&0x200 != 0 {
		return "armel"
	}
	return arch
}

// release reads os-release.
func release(root *os.Root) Release {
	b, err := readBeneath(root, "etc/os-release", maxRead)
	if err != nil {
		if b, err = readBeneath(root, "usr/lib/os-release", maxRead); err != nil {
			return Release{}
		}
	}
	return parseRelease(b)
}

func parseRelease(b []byte) Release {
	var r Release
	fields := map[string]*string{
		"ID": &r.ID, "VERSION_ID": &r.Version, "VERSION_CODENAME": &r.Codename, "PRETTY_NAME": &r.Pretty,
	}
	for line := range bytes.Lines(b) {
		key, value, ok := strings.Cut(strings.TrimSpace(string(line)), "=")
		if field := fields[key]; ok && field != nil {
			*field = printable(unquote(value))
		}
	}
	return r
}

// unquote takes the quotes of a shell off.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		s = s[1 : len(s)-1]
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\$`, `$`, "\\`", "`").Replace(s)
}

// printable makes a string from a root fit for a terminal.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7F && r < 0xA0 || r == 0x2028 || r == 0x2029 || r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 100 {
		s = string(r[:100])
	}
	return s
}

// bootDirs are where a root has its boot files, the newer place first.
var bootDirs = []string{"boot/firmware", "boot"}

// bootDir returns where the boot partition is mounted: as fstab says, else where
// boot/firmware is there, else boot.
func bootDir(root *os.Root) string {
	fstab, _ := readBeneath(root, "etc/fstab", maxRead)
	for line := range bytes.Lines(fstab) {
		f := strings.Fields(string(line))
		if len(f) >= 3 && !strings.HasPrefix(f[0], "#") && slices.Contains(bootDirs, strings.Trim(f[1], "/")) {
			return strings.Trim(f[1], "/")
		}
	}
	if info, err := root.Lstat(bootDirs[0]); err == nil && info.IsDir() {
		return bootDirs[0]
	}
	if v := release(root).Version; v != "" && (len(v) > 2 || v >= "12" && len(v) == 2) {
		return bootDirs[0]
	}
	return bootDirs[1]
}

// firmware are files of which a folder that a Pi boots from has one.
var firmware = []string{"start.elf", "start4.elf", "kernel8.img", "kernel_2712.img", "kernel7.img", "kernel7l.img", "kernel.img"}

// findBoot returns the folder with the files that a Pi boots from, "" if there
// is none.
func findBoot(root *os.Root) string {
	for _, dir := range bootDirs {
		for _, name := range firmware {
			if info, err := root.Lstat(path.Join(dir, name)); err == nil && info.Mode().IsRegular() {
				return dir
			}
		}
	}
	return ""
}
