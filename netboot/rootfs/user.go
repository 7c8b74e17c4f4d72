package rootfs

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"picloud/netboot/rootfs/internal/edit"
)

// user is one line of passwd(5).
type user struct {
	uid, gid int
	home     string // within the root, such as home/pi
}

// Numbers of people (Debian policy, section 9.2.2).
const (
	firstUID  = 1000
	lastUID   = 59999
	maxPasswd = 256 << 10
)

var homeForm = regexp.MustCompile(`^/home/[a-zA-Z_][a-zA-Z0-9_.-]{0,31}$`)

// firstUser returns the person with the lowest number, if there is one with a
// folder in /home. The file is the customer's: nothing in it may lead
// elsewhere, nor to another than an ordinary user.
func firstUser(passwd []byte) (user, bool) {
	var first user
	for line := range strings.Lines(string(passwd)) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), ":")
		if len(f) != 7 || !homeForm.MatchString(f[5]) {
			continue
		}
		uid, err := strconv.Atoi(f[2])
		gid, gidErr := strconv.Atoi(f[3])
		if err != nil || gidErr != nil || uid < firstUID || uid > lastUID || gid < 1 || gid > 1<<31-1 {
			continue
		}
		if first.uid == 0 || uid < first.uid {
			first = user{uid: uid, gid: gid, home: f[5][1:]}
		}
	}
	return first, first.uid != 0
}

// noLogin are the shells of those who do not log in. Raspberry Pi OS of April
// 2026 leaves its user one until somebody has answered the questions of a first
// boot (RPi-Distro/userconf-pi#12), which nobody is asked here.
var noLogin = []string{"/usr/sbin/nologin", "/sbin/nologin", "/usr/bin/false", "/bin/false"}

// withShell gives a user a shell, if theirs is none; nil means that it is one.
func withShell(passwd []byte, u user, shell string) []byte {
	lines := strings.SplitAfter(string(passwd), "\n")
	for i, line := range lines {
		bare := strings.TrimRight(line, "\r\n")
		f := strings.Split(bare, ":")
		if len(f) == 7 && f[2] == strconv.Itoa(u.uid) && f[5] == "/"+u.home && slices.Contains(noLogin, f[6]) {
			lines[i] = strings.TrimSuffix(bare, f[6]) + shell + line[len(bare):]
			return []byte(strings.Join(lines, ""))
		}
	}
	return nil
}

// letIn gives the first user, if they have keys, a shell to use them with.
func letIn(root *os.Root, p Person) error {
	passwd := edit.Read(root, "etc/passwd", maxPasswd)
	u, ok := firstUser(passwd)
	if !ok || len(p.AuthorizedKeys) == 0 || isOutside(root, u.home+"/x") {
		return nil
	}
	shell := "/bin/sh"
	if _, err := root.Stat("bin/bash"); err == nil {
		shell = "/bin/bash"
	}
	fresh := withShell(passwd, u, shell)
	if fresh == nil {
		return nil
	}
	return edit.File(root, "etc/passwd", 0o644, fresh)
}
