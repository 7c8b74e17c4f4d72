package rescue

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// needed are the programs that /init runs, and the Debian package of each. They
// are found in programDirs.
var needed = append([]program{
	{"sh", "dash"}, {"sshd", "openssh-server"}, {"ip", "iproute2"}, {"mount", "mount"}, {"umount", "mount"},
}, of("coreutils", "cat chmod chroot date env ln mkdir rm sleep sync timeout uname")...)

// useful are programs that people miss: of each group at least one is to be there.
var useful = [][]program{
	{{"bash", "bash"}},
	{{"nano", "nano"}, {"vi", "vim-tiny"}, {"vim.tiny", "vim-tiny"}},
	{{"less", "less"}},
	{{"tar", "tar"}},
	{{"gzip", "gzip"}},
	{{"rsync", "rsync"}},
	{{"ping", "iputils-ping"}},
	{{"ps", "procps"}},
	{{"e2fsck", "e2fsprogs"}},
}

// others are taken where they are there.
var others = of("", `
	sftp-server scp ssh ssh-keygen
	[ b2sum base64 basename chgrp chown cksum cmp comm cp csplit cut dd df dircolors dirname du echo expand expr
	factor false fmt fold groups head hostid id install join link logname ls md5sum mkfifo mknod mktemp mv nice nl
	nohup nproc numfmt od paste pr printenv printf pwd readlink realpath rmdir seq sha1sum sha256sum sha512sum shred
	shuf sort split stat stdbuf stty sum tac tail tee test touch tr true truncate tsort tty uniq unlink users wc who
	whoami yes
	blkid cal column dmesg fallocate findmnt flock hexdump kill losetup lsblk more mountpoint nsenter setsid unshare
	free pgrep pkill pidof top uptime vmstat watch sysctl
	ss bridge hostname
	awk diff egrep fgrep find grep rev sed xargs
	ar bzip2 cpio gunzip unxz xz zcat zstd
	badblocks debugfs dumpe2fs fsck fsck.ext4 mke2fs resize2fs tune2fs
	mount.nfs mount.nfs4 umount.nfs showmount
	insmod lsmod rmmod modinfo
	busybox chattr lsattr getfacl setfacl getfattr setfattr getent lsof strace tput which`)

// program is one that the rescue system is to have.
type program struct{ name, from string }

// of lists programs of one package.
func of(from, names string) []program {
	var list []program
	for _, n := range strings.Fields(names) {
		list = append(list, program{n, from})
	}
	return list
}

var programDirs = []string{"usr/sbin", "usr/bin", "sbin", "bin", "usr/lib/openssh"}

const (
	sshd       = "usr/sbin/sshd" // as /init starts it
	maxHelpers = 4
)

// libraries are opened by the C library when it needs them, so that no program
// names them: for passwd(5) and DNS before glibc 2.34, and to end threads.
var libraries = []string{"libnss_files.so.2", "libnss_dns.so.2", "libgcc_s.so.1"}

// data are files and folders of the image that programs read.
var data = []string{
	"etc/protocols", "etc/services", "etc/netconfig", "etc/rpc", "etc/e2fsck.conf", "etc/mke2fs.conf",
	"lib/terminfo", "usr/share/terminfo/x/xterm-256color", "usr/share/terminfo/t/tmux-256color",
	"usr/lib/locale/C.utf8", "usr/lib/locale/C.UTF-8",
}

// addPrograms takes the programs with their libraries, and returns what people
// will miss.
func (l *linker) addPrograms(s *parts) (warnings []string, err error) {
	for _, p := range s.needed {
		ok, err := l.addProgram(p.name)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("%w: %s (install %s in the image)", ErrMissing, p.name, p.from)
		}
	}
	f, err := l.file(s.shell)
	if err != nil {
		return nil, fmt.Errorf("%w: /%s (%w)", ErrMissing, s.shell, err)
	}
	if err := l.program(f); err != nil {
		return nil, err
	}
	for _, group := range s.useful {
		var names []string
		there := false
		for _, p := range group {
			ok, err := l.addProgram(p.name)
			if err != nil {
				return nil, err
			}
			there = there || ok
			names = append(names, p.name)
		}
		if !there {
			warnings = append(warnings, fmt.Sprintf("there will be no %s (install %s in the image)", strings.Join(names, " or "), group[0].from))
		}
	}
	for _, p := range s.others {
		if _, err := l.addProgram(p.name); err != nil {
			return nil, err
		}
	}
	if s.login {
		if err := l.addHelpers(); err != nil {
			return nil, err
		}
	}
	return warnings, l.addExtra(s.data)
}

// addProgram takes a program, if it is there.
func (l *linker) addProgram(name string) (ok bool, err error) {
	f, err := l.locate(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = l.program(f)
	}
	if err != nil {
		return false, fmt.Errorf("program %s: %w", name, err)
	}
	return true, nil
}

// helperForm is how sshd names the programs that it starts for each connection:
// one since OpenSSH 9.8, two since 10.0.
var helperForm = regexp.MustCompile(`/[a-zA-Z0-9/._+-]+/sshd-(session|auth)`)

// addHelpers takes the programs without which sshd lets nobody in, wherever it
// was built to look for them.
func (l *linker) addHelpers() error {
	for _, name := range helperForm.FindAll(l.text(sshd, maxFile), maxHelpers) {
		f, err := l.file(string(name))
		if err == nil {
			err = l.program(f)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s (install openssh-server in the image)", ErrMissing, name)
		}
		if err != nil {
			return fmt.Errorf("program %s: %w", name, err)
		}
	}
	return nil
}

// locate finds a program's file.
func (l *linker) locate(name string) (found, error) {
	for _, d := range programDirs {
		f, err := l.file(path.Join(d, name))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return found{}, fs.ErrNotExist
}

// addExtra takes what is there of the libraries and data that nothing names.
func (l *linker) addExtra(data []string) error {
	sh, err := l.locate("bash")
	if errors.Is(err, fs.ErrNotExist) {
		sh, err = l.locate("sh")
	}
	if err != nil {
		return err
	}
	r, err := l.open(sh.real)
	if err != nil {
		return err
	}
	n, err := readNeed(r)
	r.Close()
	if err != nil {
		return err
	}
	for _, name := range libraries {
		f, err := l.library(name, "", need{class: n.class, machine: n.machine})
		if err != nil {
			continue
		}
		if err := l.program(f); err != nil {
			return err
		}
	}
	for _, name := range data {
		if f, err := l.file(name); err == nil {
			if _, err := l.take(f); err != nil {
				return err
			}
		} else if err := l.under(name); err != nil {
			return err
		}
	}
	return nil
}

// has tells whether the tree has a program.
func (l *linker) has(name string) bool {
	f, err := l.locate(name)
	if err != nil {
		return false
	}
	_, ok := l.entries[f.real]
	return ok
}

// shell is root's, as it is to stand in passwd(5).
func (l *linker) shell() string {
	for _, d := range slices.Backward(programDirs) {
		if f, err := l.file(path.Join(d, "bash")); err == nil {
			if _, ok := l.entries[f.real]; ok {
				return "/" + path.Join(d, "bash")
			}
		}
	}
	return "/bin/sh"
}
