package tftp

import (
	"bytes"
	"strings"
	"testing"
)

// requestSeeds are requests as boot ROMs send them, and broken ones.
var requestSeeds = [][]byte{
	[]byte("\x00\x01bootcode.bin\x00octet\x00"),
	rrq(opRRQ, "b66c4c16/start.elf", "octet", "tsize", "0"),
	rrq(opRRQ, "b66c4c16/start4.elf", "octet", "tsize", "0", "blksize", "1024"),
	rrq(opRRQ, "bd989ae1/config.txt", "octet", "tsize", "0", "blksize", "1468"),
	rrq(opRRQ, "f", "netascii", "blksize", "99999999999999999999", "tsize", "x"),
	rrq(opRRQ, "../../etc/passwd", "octet"),
	rrq(opWRQ, "f", "octet", "tsize", "5"),
	rrq(opRRQ, strings.Repeat("a", 600), "octet"),
	[]byte("\x00\x01no nul"),
	{0, 1}, {0}, {}, ack(0), earlyTerminate, data(1, []byte("x")),
}

// A request is understood or refused, and what is understood is within bounds.
func FuzzParseRequest(f *testing.F) {
	for _, s := range requestSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := parseRequest(p)
		if err != nil {
			return
		}
		if r.Name == "" || len(r.Name) > maxRequest || strings.ContainsRune(r.Name, 0) {
			t.Errorf("name %q", r.Name)
		}
		if r.Mode != "octet" && r.Mode != "netascii" || r.TSize && r.Mode != "octet" {
			t.Errorf("mode %q, tsize %t", r.Mode, r.TSize)
		}
		if r.BlkSize != 0 && (r.BlkSize < minBlkSize || r.BlkSize > maxBlkSize) {
			t.Errorf("block size %d", r.BlkSize)
		}
		if n := printable(r.Name); len(n) > maxPrintedName || strings.ContainsFunc(n, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("printed name %q", n)
		}
		// The library must understand what it is given.
		if _, err := parseRequest(libraryRequest(r, max(r.BlkSize, plainBlkSize), 1<<40)); err != nil {
			t.Errorf("request for the library: %v", err)
		}
	})
}

// Whatever is sent to the server, and then to the port of a running transfer, the
// transfer goes on or ends, and the next request is served.
func FuzzServer(f *testing.F) {
	for _, s := range requestSeeds {
		f.Add(s, s)
		f.Add(s, ack(1))
	}
	f.Add(ack(1), bytes.Repeat([]byte{0, 4, 0, 1}, 500))
	file := content(700)
	r := newRig(f, map[string][]byte{"f": file}, func(c *Config) { c.MaxPerClient = 64 })
	f.Fuzz(func(t *testing.T, request, packet []byte) {
		if len(request) > 60_000 || len(packet) > 60_000 {
			return
		}
		hostile := r.clientOf(t, "127.64.0.6", 0, "127.64.0.5")
		defer hostile.udp.Close()
		hostile.send(hostile.server, request)
		hostile.ask("f", "octet")
		p := hostile.recv()
		for len(p) < 4 || opcode(p) != opDATA {
			p = hostile.recv()
		}
		hostile.send(hostile.tid, packet)
		hostile.send(hostile.tid, earlyTerminate)

		honest := r.clientOf(t, "127.64.0.2", 0, "127.64.0.1")
		defer honest.udp.Close()
		honest.ask("f", "octet")
		if got := honest.rest(512); !bytes.Equal(got, file) {
			t.Error("the file is not what was sent")
		}
		for len(r.events) > 0 {
			<-r.events
		}
	})
}
