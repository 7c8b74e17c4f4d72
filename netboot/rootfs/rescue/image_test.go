package rescue

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// object describes an ELF file, as far as ld.so(8) looks at it.
type object struct {
	interpreter string
	needed      []string
	runpath     string
	machine     elf.Machine // 0 is x86-64
	text        string      // some of its content
}

// bytes makes the file: a header, the interpreter, and the sections with the
// dynamic entries, their strings, and the sections' names.
func (o object) bytes() []byte {
	if o.machine == 0 {
		o.machine = elf.EM_X86_64
	}
	dynstr, dynamic := []byte{0}, []byte{}
	add := func(tag elf.DynTag, s string) {
		dynamic = binary.LittleEndian.AppendUint64(dynamic, uint64(tag))
		dynamic = binary.LittleEndian.AppendUint64(dynamic, uint64(len(dynstr)))
		dynstr = append(append(dynstr, s...), 0)
	}
	for _, n := range o.needed {
		add(elf.DT_NEEDED, n)
	}
	if o.runpath != "" {
		add(elf.DT_RUNPATH, o.runpath)
	}
	dynamic = append(dynamic, make([]byte, 16)...) // DT_NULL
	names := []byte("\x00.dynstr\x00.dynamic\x00.shstrtab\x00")
	const head, program, section = 64, 56, 64
	body := head + program
	var blob []byte
	at := func(b []byte) (offset, size uint64) {
		offset = uint64(body + len(blob))
		blob = append(blob, b...)
		return offset, uint64(len(b))
	}
	interpAt, interpLen := at(append([]byte(o.interpreter), 0))
	if o.interpreter == "" {
		interpLen = 0
	}
	sections := []elf.Section64{{}}
	for i, s := range []struct {
		kind elf.SectionType
		b    []byte
		name uint32
	}{{elf.SHT_STRTAB, dynstr, 1}, {elf.SHT_DYNAMIC, dynamic, 9}, {elf.SHT_STRTAB, names, 18}} {
		off, size := at(s.b)
		h := elf.Section64{Name: s.name, Type: uint32(s.kind), Off: off, Size: size, Addralign: 1}
		if i == 1 {
			h.Link, h.Entsize = 1, 16
		}
		sections = append(sections, h)
	}
	at([]byte(o.text))
	h := elf.Header64{
		Type: uint16(elf.ET_DYN), Machine: uint16(o.machine), Version: 1, Phoff: head, Shoff: uint64(body + len(blob)),
		Ehsize: head, Phentsize: program, Phnum: 1, Shentsize: section, Shnum: uint16(len(sections)), Shstrndx: 3,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	kind := elf.PT_INTERP
	if interpLen == 0 {
		kind = elf.PT_NULL
	}
	var out bytes.Buffer
	_ = binary.Write(&out, binary.LittleEndian, h)
	_ = binary.Write(&out, binary.LittleEndian, elf.Prog64{Type: uint32(kind), Off: interpAt, Filesz: interpLen, Memsz: interpLen})
	out.Write(blob)
	_ = binary.Write(&out, binary.LittleEndian, sections)
	return out.Bytes()
}

const (
	loader = "/lib64/ld-linux-x86-64.so.2"
	libDir = "usr/lib/x86_64-linux-gnu/"
	kernel = "6.1.0-9-amd64"
)

// linkTo is a file that is a symbolic link.
type linkTo string

// debian is an image with everything that is needed, merged into usr.
func debian() map[string]any {
	plain := object{interpreter: loader, needed: []string{"libc.so.6"}}.bytes()
	m := map[string]any{
		"bin": linkTo("usr/bin"), "sbin": linkTo("usr/sbin"), "lib": linkTo("usr/lib"), "lib64": linkTo("usr/lib64"),
		"usr/lib64/ld-linux-x86-64.so.2": linkTo("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
		libDir + "ld-linux-x86-64.so.2":  object{}.bytes(),
		libDir + "libc.so.6":             object{interpreter: loader, needed: []string{"ld-linux-x86-64.so.2"}}.bytes(),
		libDir + "libcrypto.so.3":        object{needed: []string{"libc.so.6"}}.bytes(),
		"usr/bin/dash":                   plain,
		"usr/bin/sh":                     linkTo("dash"),
		"usr/bin/bash":                   plain,
		"usr/bin/vim.tiny":               plain,
		"usr/bin/vi":                     linkTo("/etc/alternatives/vi"),
		"etc/alternatives/vi":            linkTo("/usr/bin/vim.tiny"),
		"usr/bin/which":                  "#!/bin/sh\n:\n",
		"usr/bin/kmod":                   plain,
		"usr/sbin/insmod":                linkTo("../bin/kmod"),
		"usr/sbin/sshd":                  object{interpreter: loader, needed: []string{"libcrypto.so.3", "libc.so.6"}}.bytes(),
		"usr/sbin/reboot":                linkTo("/bin/systemctl"),
		"etc/passwd":                     "root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash\n",
		"etc/shadow":                     "root:$y$secret\n",
		"etc/ssh/sshd_config":            "PasswordAuthentication yes\n",
		"etc/ssh/ssh_host_ed25519_key":   "secret\n",
		"etc/ld.so.conf":                 "include /etc/ld.so.conf.d/*.conf\n",
		"etc/ld.so.preload":              "/usr/lib/evil.so\n",
		"etc/services":                   "ssh 22/tcp\n",
		"root/.ssh/authorized_keys":      "ssh-ed25519 AAAA somebody\n",
		"lib/terminfo/x/xterm":           "xterm",
		"boot/firmware/kernel8.img":      "kernel",
	}
	for _, p := range needed {
		if _, ok := m["usr/sbin/"+p.name]; !ok && p.name != "sh" {
			m["usr/bin/"+p.name] = plain
		}
	}
	modules(m, kernel, map[string]string{
		"kernel/fs/nfs/nfs.ko":          "kernel/fs/lockd/lockd.ko kernel/net/sunrpc/sunrpc.ko",
		"kernel/fs/lockd/lockd.ko":      "kernel/net/sunrpc/sunrpc.ko",
		"kernel/net/sunrpc/sunrpc.ko":   "",
		"kernel/drivers/net/macb.ko":    "",
		"kernel/drivers/net/e1000e.ko":  "",
		"kernel/drivers/usb/lan78xx.ko": "kernel/drivers/net/phy/microchip.ko",
	})
	return m
}

// modules adds those of a kernel, uncompressed.
func modules(m map[string]any, version string, needs map[string]string) {
	dir := "lib/modules/" + version + "/"
	var dep strings.Builder
	for file, n := range needs {
		fmt.Fprintf(&dep, "%s: %s\n", file, n)
		m[dir+file] = "\x7fELF " + file
		for _, n := range strings.Fields(n) {
			m[dir+n] = "\x7fELF " + n
		}
	}
	m[dir+"modules.dep"] = dep.String()
	m[dir+"modules.builtin"] = "kernel/net/ipv6/ipv6.ko\n"
}

// makeImage writes an image into a folder. Paths through links of the image are
// written through them.
func makeImage(t testing.TB, files map[string]any) string {
	t.Helper()
	dir := t.TempDir()
	var links, rest []string
	for p, v := range files {
		if _, ok := v.(linkTo); ok {
			links = append(links, p)
		} else {
			rest = append(rest, p)
		}
	}
	slices.Sort(links)
	for _, p := range append(links, rest...) {
		at := filepath.Join(dir, p)
		if first, sub, ok := strings.Cut(p, "/"); ok {
			if to, ok := files[first].(linkTo); ok { // lib/... where lib leads to usr/lib
				at = filepath.Join(dir, string(to), sub)
			}
		}
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		if err == nil {
			switch v := files[p].(type) {
			case linkTo:
				err = os.Symlink(string(v), at)
			case string:
				err = os.WriteFile(at, []byte(v), 0o644)
			case []byte:
				err = os.WriteFile(at, v, 0o755)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// unpacked is a member of an archive with its content.
type unpacked struct {
	member
	data string
}

// unpack reads archives one behind the other as the kernel does (init/initramfs.c,
// unpack_to_rootfs): a later file replaces an earlier one.
func unpack(t testing.TB, b []byte) map[string]unpacked {
	t.Helper()
	all := map[string]unpacked{}
	for at := 0; at < len(b); {
		switch {
		case b[at] == '0' && at&3 == 0:
			n := unpackPlain(t, b[at:], all)
			at += n
		case b[at] == 0:
			at++
		case b[at] == 0x1f:
			r := bytes.NewReader(b[at:])
			z, err := gzip.NewReader(r)
			if err != nil {
				t.Fatal(err)
			}
			z.Multistream(false)
			plain, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			if n := unpackPlain(t, plain, all); n != len(plain) {
				t.Fatalf("%d bytes behind the compressed archive", len(plain)-n)
			}
			at = len(b) - r.Len()
		default:
			t.Fatalf("invalid magic %#x at %d", b[at], at)
		}
	}
	return all
}

// unpackPlain reads one archive up to its trailer.
func unpackPlain(t testing.TB, b []byte, all map[string]unpacked) int {
	t.Helper()
	for at := 0; ; {
		if len(b)-at < newcHeader || string(b[at:at+6]) != newcMagic {
			t.Fatalf("no header at %d", at)
		}
		var f [13]uint64
		for i := range f {
			v, err := strconv.ParseUint(string(b[at+6+8*i:at+14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			f[i] = v
		}
		name := string(b[at+newcHeader : at+newcHeader+int(f[11])-1])
		at = (at + newcHeader + int(f[11]) + 3) &^ 3
		data := string(b[at : at+int(f[6])])
		at = (at + int(f[6]) + 3) &^ 3
		if name == newcTrailer {
			return at
		}
		if f[2] != 0 || f[3] != 0 || f[5] != 0 {
			t.Errorf("%s: owner %d:%d, time %d", name, f[2], f[3], f[5])
		}
		if _, ok := all[parent(name)]; !ok && parent(name) != "" {
			t.Errorf("%s comes before its folder", name)
		}
		all[name] = unpacked{member{name: name, mode: uint32(f[1]), rdev: unix.Mkdev(uint32(f[9]), uint32(f[10])), size: int64(f[6])}, data}
	}
}

func parent(name string) string {
	i := strings.LastIndexByte(name, '/')
	return name[:max(i, 0)]
}
