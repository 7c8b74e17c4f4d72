package rescue

import (
	"embed"
	"fmt"

	"golang.org/x/sys/unix"
)

//go:embed files
var files embed.FS

// File types with permissions, as in stat(2).
const (
	isDir  = unix.S_IFDIR
	isChar = unix.S_IFCHR
)

// ownFolder, ownFile and ownText are what is not the image's.
type (
	ownFolder struct {
		path string
		perm uint32
	}
	ownFile struct {
		path, from string // from is below files
		perm       uint32
	}
	ownText struct {
		path string
		perm uint32
		text string
	}
)

// folders are there whatever the image has.
var folders = []ownFolder{
	{"dev", 0o755}, {"etc", 0o755}, {"etc/ssh", 0o755}, {"mnt", 0o755}, {"proc", 0o555}, {"root", 0o700},
	{"run", 0o755}, {"sys", 0o555}, {"tmp", 0o1777}, {"usr", 0o755}, {"usr/bin", 0o755}, {"usr/sbin", 0o755},
	{"var", 0o755}, {"var/log", 0o755}, {"var/tmp", 0o1777},
}

// devices are what the kernel and /init open before there is a devtmpfs.
var devices = []struct {
	path         string
	perm         uint32
	major, minor uint32
}{{"dev/console", 0o600, 5, 1}, {"dev/null", 0o666, 1, 3}}

// embedded are our own files.
var embedded = []ownFile{
	{"init", "init", 0o755},
	{"usr/lib/picloud/common", "common", 0o644},
	{"etc/profile", "profile", 0o644},
	{"etc/ssh/sshd_config", "sshd_config", 0o644},
	{"usr/sbin/server-shell", "server-shell", 0o755},
	{"usr/sbin/reboot", "reboot", 0o755},
	{"usr/sbin/poweroff", "poweroff", 0o755},
	{"usr/sbin/halt", "poweroff", 0o755},
	{"usr/sbin/shutdown", "shutdown", 0o755},
}

// texts are further files of our own. passwd has whom sshd separates its
// privileges to; no password fits.
var texts = []ownText{
	{"etc/group", 0o644, "root:x:0:\ntty:x:5:\ndisk:x:6:\nnogroup:x:65534:\n"},
	{"etc/shadow", 0o600, "root:*:20000::::::\nsshd:*:20000::::::\nnobody:*:20000::::::\n"},
	{"etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nprotocols: files\nservices: files\nrpc: files\n"},
	{"etc/fstab", 0o644, ""},
	{"var/log/lastlog", 0o644, ""},
}

const passwd = `root:x:0:0:root:/root:%s
sshd:x:100:65534:sshd:/run/sshd:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
`

// addOwn adds what is not the image's.
func (l *linker) addOwn(p *parts) error {
	for _, f := range p.folders {
		at, err := l.folder(f.path)
		if err == nil {
			err = l.put(at, entry{mode: isDir | f.perm})
		}
		if err != nil {
			return err
		}
	}
	for _, d := range devices {
		if err := l.put(d.path, entry{mode: isChar | d.perm, rdev: unix.Mkdev(d.major, d.minor)}); err != nil {
			return err
		}
	}
	for _, f := range p.embedded {
		b, err := files.ReadFile("files/" + f.from)
		if err == nil {
			err = l.own(f.path, f.perm, b)
		}
		if err != nil {
			return err
		}
	}
	for _, f := range p.texts {
		if err := l.own(f.path, f.perm, []byte(f.text)); err != nil {
			return err
		}
	}
	if !p.login {
		return nil
	}
	if err := l.link("etc/mtab", "../proc/self/mounts"); err != nil {
		return err
	}
	return l.own("etc/passwd", 0o644, fmt.Appendf(nil, passwd, l.shell()))
}
