package pi

import (
	"bufio"
	"net"
	"strings"
	"time"
)

// sshDeadline is how long a connection to a simulated SSH may take, in true time.
const sshDeadline = 2 * time.Second

// sshIdent is the longest identification line (RFC 4253, section 4.2).
const sshIdent = 255

// banners are the identification strings of the SSH servers in Raspberry Pi OS,
// by VERSION_CODENAME of os-release (from memory).
var banners = map[string]string{
	"bullseye": "SSH-2.0-OpenSSH_8.4p1 Debian-5+deb11u3",
	"bookworm": "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3",
	"trixie":   "SSH-2.0-OpenSSH_10.0p2 Debian-7",
}

// sshBanner returns the identification string of the system that os-release
// describes.
func sshBanner(release string) string {
	for line := range strings.Lines(release) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			if s, ok := banners[strings.Trim(v, `"`)]; ok {
				return s
			}
		}
	}
	return banners["bookworm"]
}

// serveSSH greets whoever connects, hears who they are and closes. One connection
// at a time is enough for what looks at a simulated Pi. It returns when l is
// closed or the power goes.
func (b *boot) serveSSH(l net.Listener, banner string) {
	defer l.Close()
	defer b.cutOff(l)()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		b.counters.ssh.Add(1)
		b.greet(c, banner)
	}
}

func (b *boot) greet(c net.Conn, banner string) {
	defer c.Close()
	defer b.cutOff(c)()
	if c.SetDeadline(time.Now().Add(sshDeadline)) != nil {
		return
	}
	if _, err := c.Write([]byte(banner + "\r\n")); err != nil {
		return
	}
	// Hearing the client out lets the connection end without a reset.
	_, _ = bufio.NewReaderSize(c, sshIdent).ReadSlice('\n')
}
