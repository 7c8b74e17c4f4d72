package netbootable

import (
	"bytes"
	"cmp"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"picloud/netboot/rootfs/internal/edit"
)

// Layout is what a root has, found by looking.
type Layout struct {
	ID, Version, Codename string // os-release(5)
	BootDir               string // boot/firmware or boot
	Systemd               bool
	NetworkManager        bool
	Dhcpcd                bool
	Networkd              bool
	Ifupdown              bool
	CloudInit             bool
	InitramfsTools        bool
	SSH                   bool
}

// plain is what versions and names from a root must look like: they end up in
// command lines and on screens.
var plain = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.+~_-]{0,63}$`)

// has tells whether something is at p.
func has(root *os.Root, p string) bool {
	if _, err := root.Stat(p); err == nil {
		return true
	}
	info, err := root.Lstat(p)
	return err == nil && info.Mode().Type() == fs.ModeSymlink
}

func hasAny(root *os.Root, paths ...string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return has(root, p) })
}

func inspect(root *os.Root) Layout {
	l := Layout{
		BootDir:        "boot",
		Systemd:        hasAny(root, "usr/lib/systemd/systemd", "lib/systemd/systemd"),
		NetworkManager: hasAny(root, "usr/sbin/NetworkManager", "etc/NetworkManager/NetworkManager.conf"),
		Dhcpcd:         hasAny(root, "etc/dhcpcd.conf", "usr/sbin/dhcpcd", "sbin/dhcpcd"),
		Networkd:       hasAny(root, "usr/lib/systemd/systemd-networkd", "lib/systemd/systemd-networkd"),
		Ifupdown:       has(root, "etc/network/interfaces"),
		CloudInit:      hasAny(root, "usr/bin/cloud-init", "etc/cloud/cloud.cfg"),
		InitramfsTools: has(root, "etc/initramfs-tools"),
		SSH:            hasAny(root, "usr/sbin/sshd"),
	}
	if info, err := root.Lstat("boot/firmware"); err == nil && info.IsDir() {
		l.BootDir = "boot/firmware"
	}
	b := edit.Follow(root, "etc/os-release", maxFile)
	if b == nil {
		b = edit.Follow(root, "usr/lib/os-release", maxFile)
	}
	for line := range bytes.Lines(b) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		if value = strings.Trim(value, `"'`); !plain.MatchString(value) {
			continue
		}
		switch key {
		case "ID":
			l.ID = value
		case "VERSION_ID":
			l.Version = value
		case "VERSION_CODENAME":
			l.Codename = value
		}
	}
	return l
}

// Boot is what the kernel's command line and config.txt of a root need.
type Boot struct {
	// Initramfs tells who mounts the root: Debian's initramfs, or the kernel
	// itself (auto_initramfs=0). Raspberry Pi's kernels have NFS built in and
	// Debian's have it as a module.
	Initramfs bool
	// NFSVersion is 3 with an initramfs, whose nfsmount knows no other, else 4.1.
	NFSVersion string
	// Kernel is the kernel's file in BootDir if it is not one that the firmware
	// looks for, and InitramfsFile the initramfs that goes with it.
	Kernel, InitramfsFile string
	// Folders are further folders of the root with boot files of that kernel and
	// the firmware, for what BootDir does not have: where Debian's packages put
	// them, from where raspi-firmware copies them.
	Folders []string
	// KernelArgs are words for the command line.
	KernelArgs []string
	// ConfigLines are lines for config.txt.
	ConfigLines []string
	// Why says how the choice was made.
	Why string
}

// chooseBoot looks at the kernels' own lists of what is built into them.
func chooseBoot(root *os.Root, l Layout) Boot {
	// The interface must not get another name while the root is on it.
	b := Boot{NFSVersion: "4.1", KernelArgs: []string{"net.ifnames=0"}}
	if l.CloudInit {
		// It would otherwise take the kernel's ip= for its own to configure.
		b.KernelArgs = append(b.KernelArgs, "network-config=disabled")
	}
	b.addFolder(root, "usr/lib/raspi-firmware")
	kernels := reader{root: root, left: maxAllOfBuiltin}
	builtin, module := kernels.kernels()
	pis := piKernel(root, l.BootDir)
	switch {
	case len(builtin) > 0 && (pis || len(module) == 0):
		b.Why = "kernel " + builtin[0] + " has NFS built in"
	case len(module) > 0:
		b.Initramfs, b.NFSVersion = true, "3"
		b.Why = "kernel " + module[0] + " has NFS as a module"
	case pis:
		b.Why = "no kernel modules; taken for a Raspberry Pi kernel, which has NFS built in"
	default:
		b.Why = "no kernel found"
	}
	if pis {
		return b
	}
	versions := module
	if !b.Initramfs {
		versions = builtin
	}
	inBoot := func(name string) bool {
		return hasAny(root, path.Join(l.BootDir, name), path.Join("boot", name))
	}
	versions = slices.DeleteFunc(versions, func(v string) bool { return !inBoot("vmlinuz-" + v) })
	if len(versions) == 0 {
		return b
	}
	if !b.Initramfs {
		b.useKernel(root, versions[0], false)
		return b
	}
	// The initramfs is made last: a kernel without one is being installed.
	whole := slices.IndexFunc(versions, func(v string) bool { return inBoot("initrd.img-" + v) })
	b.useKernel(root, versions[max(whole, 0)], whole >= 0)
	return b
}

// useKernel names the kernel of a version and what goes with it.
func (b *Boot) useKernel(root *os.Root, version string, initramfs bool) {
	b.Kernel = "vmlinuz-" + version
	if initramfs {
		b.InitramfsFile = "initrd.img-" + version
		b.ConfigLines = []string{"initramfs " + b.InitramfsFile + " followkernel"}
	}
	// Those of 64-bit kernels are in a folder for each maker of processors.
	trees := "usr/lib/linux-image-" + version
	if !b.addFolder(root, trees+"/broadcom") {
		b.addFolder(root, trees)
	}
}

// addFolder adds one that is there.
func (b *Boot) addFolder(root *os.Root, dir string) bool {
	info, err := root.Stat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	b.Folders = append(b.Folders, dir)
	return true
}

// piKernels are what the firmware looks for without a kernel= in config.txt.
var piKernels = []string{"kernel8.img", "kernel_2712.img", "kernel7l.img", "kernel7.img", "kernel.img"}

func piKernel(root *os.Root, dir string) bool {
	return slices.ContainsFunc(piKernels, func(n string) bool { return has(root, path.Join(dir, n)) })
}

// What is read of a root's kernels is bounded, since whoever has the root may
// have put any number of them there. Debian's modules.builtin has 30 KB.
const (
	maxKernels      = 32
	maxBuiltin      = 1 << 20
	maxAllOfBuiltin = 8 << 20
)

// reader reads files of a root within a bound for all of them together.
type reader struct {
	root  *os.Root
	left  int64 // octets
	files int   // looked at so far
}

// read returns a file of at most limit octets, or nil. One that does not fit
// into what is left is not read.
func (r *reader) read(name string, limit int64) []byte {
	r.files++
	b := edit.Follow(r.root, name, min(limit, r.left))
	r.left -= int64(len(b))
	return b
}

// kernels returns the versions with NFS built in, and those without, the newest
// first. Of more than 32 versions the newest are looked at.
func (r *reader) kernels() (builtin, module []string) {
	const dir = "lib/modules"
	for _, v := range newestOf(edit.Names(r.root, dir), maxKernels) {
		b := r.read(path.Join(dir, v, "modules.builtin"), maxBuiltin)
		switch {
		case b == nil:
			continue
		case bytes.Contains(b, []byte("kernel/fs/nfs/nfs.ko")):
			builtin = append(builtin, v)
		default:
			module = append(module, v)
		}
	}
	return builtin, module
}

// newestOf returns the newest versions, at most so many, the newest first. What
// cannot be a version is left out.
func newestOf(names []string, most int) []string {
	type version struct {
		name    string
		numbers []int
	}
	var all []version
	for _, n := range names {
		if plain.MatchString(n) {
			all = append(all, version{n, numbers(n)})
		}
	}
	slices.SortFunc(all, func(a, b version) int {
		return cmp.Or(slices.Compare(b.numbers, a.numbers), strings.Compare(b.name, a.name))
	})
	var list []string
	for _, v := range all[:min(len(all), most)] {
		list = append(list, v.name)
	}
	return list
}

// numbers are those of a version, by which it is newer or older.
func numbers(s string) []int {
	var list []int
	in := false
	for _, r := range s {
		if r < '0' || r > '9' {
			in = false
			continue
		}
		if !in {
			list = append(list, 0)
		}
		in = true
		if n := &list[len(list)-1]; *n < 1<<30 {
			*n = *n*10 + int(r-'0')
		}
	}
	return list
}

func (b Boot) warnings(l Layout) []string {
	var list []string
	if b.Initramfs && b.Kernel != "" && b.InitramfsFile == "" {
		list = append(list, "kernel "+b.Kernel+" needs an initramfs to mount the root, and there is none")
	}
	if !l.Systemd {
		list = append(list, "it has no systemd: services are not set up")
	}
	return list
}
