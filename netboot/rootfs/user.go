package rootfs

import (
	"regexp"
	"strconv"
	"strings"
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
