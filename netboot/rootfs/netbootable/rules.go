package netbootable

import (
	"path"
	"slices"
	"strings"

	"picloud/netboot/rootfs/internal/edit"
)

// rule is one thing that a root which lives over NFS needs.
type rule struct {
	name    string
	applies func(*job) bool
	do      func(*job) error
}

func always(*job) bool    { return true }
func systemd(j *job) bool { return j.Layout.Systemd }
func masks(units ...string) func(*job) error {
	return func(j *job) error {
		for _, u := range units {
			if err := j.mask(u); err != nil {
				return err
			}
		}
		return nil
	}
}

// rules are in the order in which they are applied.
var rules = []rule{
	{"fstab", always, fstab},
	// Who grows a partition fails on NFS: rpi-resize since Trixie, a script of
	// System V before.
	{"no resize", systemd, masks("rpi-resize.service", "resize2fs_once.service", "systemd-growfs-root.service", "systemd-repart.service")},
	{"no swap file", systemd, masks("dphys-swapfile.service", "rpi-resize-swap-file.service", "rpi-loop-var-swap.service")},
	{"swap in memory", hasRPiSwap, rpiSwap},
	{"no swap file", always, func(j *job) error { return j.remove("var/swap") }},
	// It asks for a user at the screen, which nobody sees.
	{"no first-boot questions", systemd, masks("userconfig.service", "systemd-firstboot.service", "piwiz.service")},
	{"no first-boot questions", always, func(j *job) error { return j.remove("etc/ssh/sshd_config.d/rename_user.conf") }},
	// Firmware in the Pi's EEPROM is the rack's to update.
	{"no firmware update", systemd, masks("rpi-eeprom-update.service")},
	{"ssh", always, ssh},
	{"no key generation at boot", systemd, masks("regenerate_ssh_host_keys.service")},
	{"host keys", always, hostKeys},
	{"machine-id", always, machineID},
	{"interface name", systemd, interfaceName},
	{"NetworkManager", func(j *job) bool { return j.Layout.NetworkManager }, networkManager},
	{"dhcpcd", func(j *job) bool { return j.Layout.Dhcpcd }, dhcpcd},
	{"systemd-networkd", func(j *job) bool { return j.Layout.Networkd }, networkd},
	{"ifupdown", func(j *job) bool { return j.Layout.Ifupdown }, ifupdown},
	{"cloud-init", func(j *job) bool { return j.Layout.CloudInit }, cloudInit},
	{"initramfs", func(j *job) bool { return j.Layout.InitramfsTools }, initramfs},
	{"ping", always, ping},
}

const madeHere = "# Written by picloud: the root is on NFS.\n"

// localDevices are how a file system of a card or disk is named. A root over
// NFS has none of them, and systemd would wait 90 seconds for each.
var localDevices = []string{"PARTUUID=", "UUID=", "LABEL=", "PARTLABEL=", "/dev/mmcblk", "/dev/sd", "/dev/nvme", "/dev/disk/", "/dev/root", "/dev/vd"}

// bootMount mounts boot/firmware, which is a folder of the root like any other,
// on itself. On a card it is a partition, and what installs a kernel refuses to
// unless something is mounted there: "raspi-firmware: missing /boot/firmware, did
// you forget to mount it?" (Debian's raspi-firmware and Raspberry Pi OS's,
// /etc/kernel/postinst.d/z50-raspi-firmware), and every upgrade would fail.
const bootMount = "/boot/firmware  /boot/firmware  none    bind,nofail       0       0"

// fstab keeps /proc and what is neither on a local device, nor the root, nor
// boot, nor swap. boot is part of the root.
func fstab(j *job) error {
	old := edit.Read(j.root, "etc/fstab", maxFile)
	var keep []string
	proc := false
	for line := range strings.Lines(string(old)) {
		line = strings.TrimRight(line, "\r\n")
		f := strings.Fields(line)
		if len(f) >= 3 && !strings.HasPrefix(f[0], "#") {
			if slices.Contains([]string{"/", "/boot", "/boot/", "/boot/firmware", "/boot/firmware/"}, f[1]) || f[2] == "swap" ||
				slices.ContainsFunc(localDevices, func(p string) bool { return strings.HasPrefix(f[0], p) }) {
				continue
			}
			proc = proc || f[1] == "/proc"
		}
		keep = append(keep, line)
	}
	if !proc {
		keep = append(keep, "proc            /proc           proc    defaults          0       0")
	}
	if j.Layout.BootDir == "boot/firmware" {
		keep = append(keep, bootMount)
	}
	return j.write("etc/fstab", 0o644, strings.Join(keep, "\n")+"\n")
}

func hasRPiSwap(j *job) bool {
	return j.has("etc/rpi/swap.conf") || j.has("usr/lib/systemd/system-generators/rpi-swap-generator") ||
		j.has("lib/systemd/system-generators/rpi-swap-generator")
}

// rpiSwap keeps Trixie's swap in compressed memory (swap.conf(5) of rpi-swap).
func rpiSwap(j *job) error {
	return j.write("etc/rpi/swap.conf.d/90-picloud.conf", 0o644, madeHere+"[Main]\nMechanism=zram\n")
}

// ssh enables the server, as raspi-config would.
func ssh(j *job) error {
	if err := j.remove("etc/ssh/sshd_not_to_be_run"); err != nil {
		return err
	}
	file := j.unitFile("ssh.service")
	switch {
	case !j.Layout.SSH && file == "":
		j.Warnings = append(j.Warnings, "it has no SSH server: nobody will get in")
		return nil
	case !j.Layout.Systemd || file == "":
		return nil
	case j.has(units + "/sockets.target.wants/ssh.socket"):
		return nil // started by its socket, which excludes the service
	}
	if err := j.enable("ssh.service", file); err != nil {
		return err
	}
	const alias = units + "/sshd.service"
	if target, err := j.root.Readlink(alias); err == nil && target != "/dev/null" {
		return nil
	}
	return j.link(alias, "/"+file, "linked")
}

// machineID leaves a new root without an identity of its own: systemd makes one
// at the first boot (machine-id(5)). Seeds and secrets are the image's no more.
func machineID(j *job) error {
	if err := j.write("etc/machine-id", 0o444, ""); err != nil {
		return err
	}
	for _, p := range []string{"var/lib/systemd/random-seed", "var/lib/systemd/credential.secret"} {
		if err := j.remove(p); err != nil {
			return err
		}
	}
	const copied = "var/lib/dbus/machine-id"
	if info, err := j.root.Lstat(copied); err == nil && info.Mode().IsRegular() {
		return j.remove(copied)
	}
	return nil
}

// interfaceName keeps the name that the kernel gave (systemd.link(5)).
func interfaceName(j *job) error {
	return j.write("etc/systemd/network/05-picloud.link", 0o644,
		madeHere+"[Match]\nOriginalName="+j.o.Interface+"\n\n[Link]\nNamePolicy=\nName="+j.o.Interface+"\n")
}

// networkManager leaves the interface alone (NetworkManager.conf(5)), and the
// resolver, which it would empty for want of an interface.
func networkManager(j *job) error {
	return j.write("etc/NetworkManager/conf.d/90-picloud.conf", 0o644,
		madeHere+"[main]\ndns=none\n\n[keyfile]\nunmanaged-devices+=interface-name:"+j.o.Interface+"\n")
}

const (
	blockBegin = "# picloud begin: the root is on NFS"
	blockEnd   = "# picloud end"
)

// block puts lines between two marks at the start of text, in place of those
// that are there. At the end they would belong to the last interface block.
func block(text string, lines ...string) string {
	fresh := slices.Concat([]string{blockBegin}, lines, []string{blockEnd})
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == blockBegin:
			inside = true
		case line == blockEnd && inside:
			inside = false
		case !inside:
			fresh = append(fresh, line)
		}
	}
	return strings.Join(fresh, "\n") + "\n"
}

// dhcpcd leaves the interface alone (dhcpcd.conf(5)), and does not wait for a
// lease that will not come. It has to see interfaces come: with "nolink" it fails
// on a Pi that has no other.
func dhcpcd(j *job) error {
	old := string(edit.Read(j.root, "etc/dhcpcd.conf", maxFile))
	text := block(old, "persistent", "nohook resolv.conf", "denyinterfaces "+j.o.Interface)
	if err := j.write("etc/dhcpcd.conf", 0o644, text); err != nil {
		return err
	}
	return j.remove(units + "/dhcpcd.service.d/wait.conf")
}

// networkd keeps all that the kernel set up (systemd.network(5)). The interface
// counts as online: where none is required to be, systemd-networkd-wait-online
// fails after two minutes.
func networkd(j *job) error {
	return j.write("etc/systemd/network/05-picloud.network", 0o644, madeHere+`[Match]
Name=`+j.o.Interface+`

[Network]
DHCP=no
IPv6AcceptRA=no
LinkLocalAddressing=ipv6
KeepConfiguration=yes
`)
}

// ifupdown makes the interface one that ifup and ifdown do not touch
// (interfaces(5)), in all files.
func ifupdown(j *job) error {
	files := []string{"etc/network/interfaces"}
	names := edit.Names(j.root, "etc/network/interfaces.d")
	slices.Sort(names)
	for _, n := range names {
		files = append(files, path.Join("etc/network/interfaces.d", n))
	}
	for _, p := range files {
		old := string(edit.Read(j.root, p, maxFile))
		if fresh := withoutInterface(old, j.o.Interface); old != "" && fresh != old {
			if err := j.write(p, 0o644, fresh); err != nil {
				return err
			}
		}
	}
	return nil
}

// isStanza tells whether a word begins one; auto and allow-* are of one line.
func isStanza(word string) bool {
	switch word {
	case "iface", "mapping", "auto", "source", "source-directory", "no-auto-down", "no-scripts", "rename", "template":
		return true
	}
	return strings.HasPrefix(word, "allow-")
}

// withoutInterface removes an interface's stanzas, and its name from lists.
func withoutInterface(text, name string) string {
	var keep []string
	dropping := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		f := strings.Fields(line)
		if len(f) > 0 && isStanza(f[0]) {
			dropping = f[0] == "iface" && len(f) > 1 && f[1] == name
			if f[0] == "auto" || strings.HasPrefix(f[0], "allow-") {
				if i := slices.Index(f[1:], name); i >= 0 {
					f = slices.DeleteFunc(f, func(s string) bool { return s == name })
					if len(f) == 1 {
						continue
					}
					line = strings.Join(f, " ")
				}
			}
		}
		if !dropping || len(f) == 0 || strings.HasPrefix(f[0], "#") {
			keep = append(keep, line)
		}
	}
	if len(keep) == 0 {
		return ""
	}
	return strings.Join(keep, "\n") + "\n"
}

// cloudInit leaves network, disks, host keys and host name to us, and gives it
// a data source that needs no network: the seed of the boot folder, or an empty
// one. What it did on another machine is forgotten.
func cloudInit(j *job) error {
	// The last of the folder, in the order of names, wins.
	err := j.write("etc/cloud/cloud.cfg.d/99_zz_picloud.cfg", 0o644, madeHere+`datasource_list: [NoCloud, None]
network: {config: disabled}
preserve_hostname: true
manage_etc_hosts: false
ssh_deletekeys: false
ssh_genkeytypes: []
disable_root: false
growpart: {mode: "off"}
resize_rootfs: false
`)
	if err != nil {
		return err
	}
	for _, n := range []string{"instance", "instances", "data", "sem"} {
		if err := j.remove("var/lib/cloud/" + n); err != nil {
			return err
		}
	}
	if j.has(path.Join(j.Layout.BootDir, "meta-data")) {
		return nil
	}
	const seed = "var/lib/cloud/seed/nocloud"
	if err := j.write(seed+"/meta-data", 0o644, "instance-id: picloud\n"); err != nil {
		return err
	}
	return j.write(seed+"/user-data", 0o644, "#cloud-config\n{}\n")
}

// initramfs makes those that later kernels bring mount NFS on any model
// (initramfs.conf(5)).
func initramfs(j *job) error {
	return j.write("etc/initramfs-tools/conf.d/picloud", 0o644, madeHere+"BOOT=nfs\nMODULES=most\n")
}

// ping lets all users ping without the file capability, which NFS does not keep
// (icmp(7)).
func ping(j *job) error {
	return j.write("etc/sysctl.d/60-picloud.conf", 0o644, madeHere+"net.ipv4.ping_group_range = 0 2147483647\n")
}
