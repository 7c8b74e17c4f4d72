package tftp

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

var earlyTerminate = append([]byte{0, opERROR, 0, 0}, "Early terminate\x00"...)

// The request of the 3B's mask ROM, as in the trace of boot-net.adoc: 21 octets,
// no options.
func TestMaskROM(t *testing.T) {
	file := content(52_000)
	r := newRig(t, map[string][]byte{"bootcode.bin": file}, nil)
	c := r.client("127.64.0.2", 49152, "127.64.0.1")
	req := []byte("\x00\x01bootcode.bin\x00octet\x00")
	if len(req) != 21 {
		t.Fatalf("the request has %d octets", len(req))
	}
	c.send(c.server, req)
	c.wantPacket(data(1, file[:512]))
	if c.tid.Addr() != c.server.Addr() || c.tid.Port() == c.server.Port() {
		t.Errorf("answer from %s, want %s with a port of its own", c.tid, c.server.Addr())
	}
	c.ack(1)
	got := append([]byte(nil), file[:512]...)
	for block := uint16(2); ; block++ {
		p := append([]byte(nil), c.recv()...)
		if !bytes.Equal(p[:4], data(block, nil)) {
			t.Fatalf("head % x, want block %d", p[:4], block)
		}
		got = append(got, p[4:]...)
		c.ack(block)
		if len(p) < 516 {
			break
		}
	}
	if !bytes.Equal(got, file) {
		t.Error("the file is not what was sent")
	}
	if e := r.next(); e.Kind != Started || e.Size != 52_000 || e.File == nil {
		t.Errorf("first event %+v", e)
	}
	e := r.want(Served)
	if e.Bytes != 52_000 || e.Size != 52_000 || e.Name != "bootcode.bin" ||
		e.Client.String() != "127.64.0.2:49152" || e.Server.String() != "127.64.0.1" || e.Interface != 1 {
		t.Errorf("event %+v", e)
	}

	c.ask("bootsig.bin", "octet")
	c.wantPacket([]byte("\x00\x05\x00\x01file not found\x00"))
	r.want(NotFound)
}

func TestOptions(t *testing.T) {
	file := content(5000)
	tests := []struct {
		name    string
		options []string
		want    map[string]string // nil: no OACK
		blkSize int
	}{
		{"none", nil, nil, 512},
		{"bootcode.bin: tsize only", []string{"tsize", "0"}, map[string]string{"tsize": "5000"}, 512},
		{"Pi 4", []string{"tsize", "0", "blksize", "1024"}, map[string]string{"tsize": "5000", "blksize": "1024"}, 1024},
		{"Pi 5", []string{"tsize", "0", "blksize", "1468"}, map[string]string{"tsize": "5000", "blksize": "1468"}, 1468},
		{"larger than a frame", []string{"blksize", "65464"}, map[string]string{"blksize": "1468"}, 1468},
		{"exactly the default", []string{"blksize", "512"}, map[string]string{"blksize": "512"}, 512},
		{"upper case", []string{"BLKSIZE", "1024"}, map[string]string{"blksize": "1024"}, 1024},
		{"too small", []string{"blksize", "8"}, nil, 512},
		{"not a number", []string{"blksize", "many", "tsize", "x"}, map[string]string{"tsize": "5000"}, 512},
		{"negative", []string{"blksize", "-1"}, nil, 512},
		{"unknown ones", []string{"windowsize", "16", "timeout", "1", "multicast", ""}, nil, 512},
		{"twice", []string{"blksize", "600", "blksize", "700"}, map[string]string{"blksize": "600"}, 600},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, map[string][]byte{"f": file}, nil)
			c := r.pi()
			c.ask(append([]string{"f", "octet"}, tt.options...)...)
			if tt.want != nil {
				if got := c.oack(); !maps.Equal(trimEmpty(got), tt.want) {
					t.Fatalf("OACK %v, want %v", got, tt.want)
				}
				c.ack(0)
			}
			if got := c.rest(tt.blkSize); !bytes.Equal(got, file) {
				t.Error("the file is not what was sent")
			}
			r.want(Served)
		})
	}
}

func trimEmpty(m map[string]string) map[string]string {
	delete(m, "")
	return m
}

func TestSizes(t *testing.T) {
	for _, size := range []int{0, 1, 511, 512, 513, 1024, 1468, 2936} {
		for _, blk := range []int{0, 1024, 1468} {
			t.Run(fmt.Sprintf("%d in blocks of %d", size, blk), func(t *testing.T) {
				file := content(size)
				r := newRig(t, map[string][]byte{"f": file}, nil)
				c := r.pi()
				o := []string{"f", "octet", "tsize", "0"}
				if blk != 0 {
					o = append(o, "blksize", strconv.Itoa(blk))
				}
				c.ask(o...)
				got := c.oack()
				if n, err := strconv.Atoi(got["tsize"]); err != nil || n != size {
					t.Errorf("tsize %q, want %d", got["tsize"], size)
				}
				c.ack(0)
				if b := c.rest(max(blk, 512)); !bytes.Equal(b, file) {
					t.Error("the file is not what was sent")
				}
				if e := r.want(Served); e.Bytes != int64(size) {
					t.Errorf("%d octets reported, want %d", e.Bytes, size)
				}
			})
		}
	}
}

func TestNetascii(t *testing.T) {
	r := newRig(t, map[string][]byte{"cmdline.txt": []byte("a\nb\rc")}, nil)
	c := r.pi()
	c.ask("cmdline.txt", "NetASCII", "tsize", "0") // the size is not known beforehand
	c.wantPacket(data(1, []byte("a\r\nb\r\x00c")))
	c.ack(1)
	r.want(Served)
}

// A board asks whether a file is there, ends that with "Early terminate", and at
// once asks again from the same port.
func TestProbeThenTransfer(t *testing.T) {
	file := content(3000)
	for _, after := range []string{"OACK", "first block", "first block without options"} {
		t.Run(after, func(t *testing.T) {
			r := newRig(t, map[string][]byte{"b66c4c16/start.elf": file}, nil)
			c := r.client("127.64.0.2", 49153, "127.64.0.1")
			for range 50 { // the ERROR and the next request race in the server
				req := []string{"b66c4c16/start.elf", "octet", "tsize", "0"}
				if after == "first block without options" {
					req = req[:2]
				}
				c.ask(req...)
				if len(req) > 2 {
					c.oack()
				}
				if after == "first block" {
					c.ack(0)
				}
				if after != "OACK" {
					c.wantPacket(data(1, file[:512]))
				}
				c.send(c.tid, earlyTerminate)
				c.ask(req...)
				if len(req) > 2 {
					c.oack()
					c.ack(0)
				}
				if got := c.rest(512); !bytes.Equal(got, file) {
					t.Fatal("the file is not what was sent")
				}
				kinds := map[Kind]int{r.final().Kind: 1}
				kinds[r.final().Kind]++
				if kinds[EarlyTerminate] != 1 || kinds[Served] != 1 {
					t.Fatalf("events %v", kinds)
				}
			}
			c.silence(20 * time.Millisecond) // nothing answers the client's ERROR
		})
	}
}

// config.txt is read up to seven times in a row, from one port.
func TestSameFileAgainAndAgain(t *testing.T) {
	file := []byte("arm_64bit=1\n")
	r := newRig(t, map[string][]byte{"config.txt": file}, nil)
	c := r.client("127.64.0.2", 49154, "127.64.0.1")
	for range 200 {
		c.ask("config.txt", "octet")
		c.wantPacket(data(1, file))
		c.ack(1)
		c.ask("recovery.elf", "octet")
		c.wantPacket([]byte("\x00\x05\x00\x01file not found\x00"))
		c.ask("recovery.elf", "octet")
		c.wantPacket([]byte("\x00\x05\x00\x01file not found\x00"))
	}
	count := map[Kind]int{}
	for range 600 {
		count[r.final().Kind]++
	}
	if count[Served] != 200 || count[NotFound] != 400 {
		t.Errorf("events %v", count)
	}
}

// A Pi that was power-cycled in mid-transfer asks from the same port again: the
// new transfer takes the place of the old one.
func TestRepeatedRequestReplaces(t *testing.T) {
	file := content(5000)
	r := newRig(t, map[string][]byte{"start4.elf": file, "other": file}, nil)
	for _, again := range []string{"start4.elf", "other"} {
		c := r.client("127.64.0.2", 49155, "127.64.0.1")
		c.ask("start4.elf", "octet")
		c.wantPacket(data(1, file[:512]))
		c.ack(1)
		c.wantPacket(data(2, file[512:1024]))
		old := c.tid
		c.ask(again, "octet")
		c.wantPacket(data(1, file[:512]))
		if c.tid == old {
			t.Error("the new transfer has the old transfer's port")
		}
		c.send(old, ack(2)) // the old one is dead
		c.ack(1)
		c.wantPacket(data(2, file[512:1024]))
		e := r.want(Replaced)
		if e.Bytes != 512 || !errors.Is(e.Err, ErrReplaced) {
			t.Errorf("event %+v", e)
		}
		c.send(c.tid, earlyTerminate)
		r.final()
		c.udp.Close()
	}
}

// A request that is repeated because its answer was lost is answered by the same
// transfer, at once. A second transfer would leave the client with two.
func TestRepeatedRequestBeforeAnyAcknowledgement(t *testing.T) {
	file := content(2000)
	r := newRig(t, map[string][]byte{"f": file}, nil)
	c := r.pi()
	c.ask("f", "octet", "blksize", "1024")
	c.oack()
	tid := c.tid
	for range 3 {
		c.ask("f", "octet", "blksize", "1024")
		c.oack()
		if c.tid != tid {
			t.Fatal("a second transfer was started")
		}
	}
	c.ack(0)
	if got := c.rest(1024); !bytes.Equal(got, file) {
		t.Error("the file is not what was sent")
	}
	r.want(Served)
}

// Also while the file is being opened.
func TestRepeatedRequestWhileOpening(t *testing.T) {
	r := newTreeRig(t, &memTree{files: map[string][]byte{"f": []byte("x")}, gate: make(chan struct{})}, nil)
	c := r.pi()
	for range 5 {
		c.ask("f", "octet")
	}
	for len(r.tree.requests()) == 0 {
		c.silence(time.Millisecond)
	}
	// Requests are read in turn: once this one is answered, all five were read.
	other := r.client("127.64.0.6", 0, "127.64.0.5")
	other.send(other.server, rrq(opWRQ, "f", "octet"))
	other.recv()
	r.want(Refused)
	close(r.tree.gate)
	c.wantPacket(data(1, []byte("x")))
	c.silence(50 * time.Millisecond)
	c.ack(1)
	r.want(Served)
	if n := len(r.tree.requests()); n != 1 {
		t.Errorf("opened %d times", n)
	}
}

// More than 65,535 blocks: the block number starts again at 0.
func TestRollOver(t *testing.T) {
	file := content(66_000*512 + 7)
	r := newRig(t, map[string][]byte{"big": file}, nil)
	c := r.pi()
	c.ask("big", "octet", "tsize", "0")
	c.oack()
	c.ack(0)
	if got := c.rest(512); !bytes.Equal(got, file) {
		t.Error("the file is not what was sent")
	}
	if e := r.want(Served); e.Bytes != int64(len(file)) {
		t.Errorf("%d octets reported, want %d", e.Bytes, len(file))
	}
}

func TestErrorsOfTheTree(t *testing.T) {
	tests := []struct {
		err  error
		kind Kind
		want string
	}{
		{ErrNotFound, NotFound, "\x00\x05\x00\x01file not found\x00"},
		{fs.ErrNotExist, NotFound, "\x00\x05\x00\x01file not found\x00"},
		{ErrDenied, Refused, "\x00\x05\x00\x02access denied\x00"},
		{fs.ErrPermission, Refused, "\x00\x05\x00\x02access denied\x00"},
		{ErrUnknownClient, Refused, "\x00\x05\x00\x02access denied\x00"},
		{errors.New("disk on fire"), Failed, "\x00\x05\x00\x00server error\x00"},
	}
	for _, tt := range tests {
		t.Run(tt.err.Error(), func(t *testing.T) {
			r := newTreeRig(t, &memTree{errs: map[string]error{"f": tt.err}}, nil)
			c := r.pi()
			c.ask("f", "octet", "tsize", "0", "blksize", "1468")
			c.wantPacket([]byte(tt.want))
			if e := r.want(tt.kind); !errors.Is(e.Err, tt.err) {
				t.Errorf("event %+v", e)
			}
		})
	}
}

func TestRefusedRequests(t *testing.T) {
	long := strings.Repeat("a", 60_000)
	malformed := "\x00\x05\x00\x04malformed request\x00"
	tests := []struct {
		name string
		send []byte
		want string // "" means silence
		err  error
	}{
		{"write", rrq(opWRQ, "cmdline.txt", "octet"), "\x00\x05\x00\x02read only server\x00", ErrWrite},
		{"no NUL", []byte("\x00\x01cmdline.txt"), malformed, ErrMalformed},
		{"no mode", []byte("\x00\x01cmdline.txt\x00"), malformed, ErrMalformed},
		{"mode without NUL", []byte("\x00\x01cmdline.txt\x00octet"), malformed, ErrMalformed},
		{"empty name", rrq(opRRQ, "", "octet"), malformed, ErrMalformed},
		{"mode mail", rrq(opRRQ, "root", "mail"), malformed, ErrMalformed},
		{"64 KB name", rrq(opRRQ, long, "octet"), malformed, ErrMalformed},
		{"just too long", rrq(opRRQ, strings.Repeat("a", 512-2-7+1), "octet"), malformed, ErrMalformed},
		{"nothing but an opcode", []byte{0, 1}, malformed, ErrMalformed},
		{"nothing", []byte{}, "", nil},
		{"one octet", []byte{0}, "", nil},
		{"data", data(1, []byte("x")), "", nil},
		{"acknowledgement", ack(1), "", nil},
		{"error", earlyTerminate, "", nil},
		{"unknown opcode", rrq(9, "f", "octet"), "", nil},
		{"opcode 257", []byte("\x01\x01f\x00octet\x00"), "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, map[string][]byte{"f": []byte("x")}, nil)
			c := r.pi()
			c.send(c.server, tt.send)
			if tt.want != "" {
				c.wantPacket([]byte(tt.want))
				if e := r.want(Refused); !errors.Is(e.Err, tt.err) {
					t.Errorf("event %+v", e)
				}
			}
			// It still serves, and has sent nothing else.
			c.ask("f", "octet")
			c.wantPacket(data(1, []byte("x")))
			c.ack(1)
			r.want(Served)
		})
	}
}

// Replies come from the address that was asked, on one socket for all segments.
func TestAnswersFromTheAddressAsked(t *testing.T) {
	r := newRig(t, map[string][]byte{"f": content(700)}, nil)
	for _, seg := range []struct{ server, pi string }{
		{"127.64.0.1", "127.64.0.2"},
		{"127.64.0.5", "127.64.0.6"},
		{"127.64.3.253", "127.64.3.254"},
		{"127.0.0.1", "127.0.0.1"},
	} {
		c := r.client(seg.pi, 0, seg.server)
		for _, name := range []string{"f", "missing"} {
			c.ask(name, "octet")
			c.recv()
			if c.tid.Addr() != c.server.Addr() {
				t.Errorf("%s asked %s for %s, which answered from %s", seg.pi, seg.server, name, c.tid.Addr())
			}
			c.send(c.tid, earlyTerminate)
			if e := r.final(); e.Server != c.server.Addr() || e.Client.Addr().String() != seg.pi {
				t.Errorf("event %+v", e)
			}
		}
		c.send(c.server, rrq(opWRQ, "f", "octet"))
		c.recv()
		if c.tid.Addr() != c.server.Addr() {
			t.Errorf("write to %s was refused from %s", seg.server, c.tid.Addr())
		}
		r.want(Refused)
	}
}

// short is a configuration in which lost packets are soon repeated.
func short(c *Config) { c.Timeout, c.Retries = 20*time.Millisecond, 3 }

func TestLostPackets(t *testing.T) {
	file := content(1300)
	r := newRig(t, map[string][]byte{"f": file}, short)
	c := r.pi()
	c.ask("f", "octet", "blksize", "1024")
	for range 3 { // the OACK, or its acknowledgement, is lost
		if o := c.oack(); o["blksize"] != "1024" {
			t.Fatalf("OACK %v", o)
		}
	}
	c.ack(0)
	for range 2 {
		c.wantPacket(data(1, file[:1024]))
	}
	c.ack(1)
	for range 3 {
		c.wantPacket(data(2, file[1024:]))
	}
	c.ack(2)
	if e := r.want(Served); e.Bytes != 1300 {
		t.Errorf("event %+v", e)
	}
}

func TestClientThatFallsSilent(t *testing.T) {
	file := content(3000)
	r := newRig(t, map[string][]byte{"f": file}, short)
	c := r.pi()
	c.ask("f", "octet")
	c.wantPacket(data(1, file[:512]))
	c.ack(1)
	for range 4 { // the first and three repetitions
		c.wantPacket(data(2, file[512:1024]))
	}
	e := r.want(Failed)
	if !errors.Is(e.Err, ErrNoAnswer) || e.Bytes != 512 {
		t.Errorf("event %+v", e)
	}
	c.silence(50 * time.Millisecond)
}

// A closed port says so by ICMP, which ends the transfer at once.
func TestClientThatIsGone(t *testing.T) {
	r := newTreeRig(t, &memTree{files: map[string][]byte{"f": content(3000)}, gate: make(chan struct{})}, nil)
	c := r.pi()
	c.ask("f", "octet")
	for len(r.tree.requests()) == 0 {
		c.silence(time.Millisecond)
	}
	c.udp.Close()
	close(r.tree.gate)
	if e := r.want(Failed); !errors.Is(e.Err, ErrNoAnswer) || e.Took > 900*time.Millisecond {
		t.Errorf("event %+v", e)
	}
}

// Sorcerer's apprentice: a doubled acknowledgement must not double the block that
// it leads to (RFC 1123, section 4.2.3.1).
func TestDoubledAcknowledgements(t *testing.T) {
	file := content(512*20 + 1)
	r := newRig(t, map[string][]byte{"f": file}, nil)
	c := r.pi()
	c.ask("f", "octet")
	var got []byte
	for block := uint16(1); ; block++ {
		p := c.recv()
		if !bytes.Equal(p[:4], data(block, nil)) {
			t.Fatalf("head % x, want block %d", p[:4], block)
		}
		got = append(got, p[4:]...)
		if len(p) < 516 {
			break
		}
		for range 3 {
			c.ack(block)
			c.send(c.tid, ack(block-1))
		}
	}
	c.ack(21)
	r.want(Served)
	c.silence(30 * time.Millisecond)
	if !bytes.Equal(got, file) {
		t.Error("the file is not what was sent")
	}
}

// Nothing that comes to the port of a transfer, from its client or from others,
// hurts it.
func TestGarbageDuringTransfer(t *testing.T) {
	file := content(1500)
	r := newRig(t, map[string][]byte{"f": file}, nil)
	c, stranger := r.pi(), r.client("127.64.0.6", 0, "127.64.0.5")
	c.ask("f", "octet")
	c.wantPacket(data(1, file[:512]))
	for _, p := range [][]byte{
		{}, {0}, {0, 4}, {0, 4, 0}, ack(9), ack(math.MaxUint16), data(1, content(60_000)), content(65_000),
		rrq(opRRQ, "g", "octet"), rrq(opWRQ, "g", "octet"), {0, 6}, rrq(opOACK, "blksize", "65464"), {0, 3, 0, 1},
	} {
		c.send(c.tid, p)
	}
	stranger.send(c.tid, earlyTerminate)
	stranger.send(c.tid, ack(1))
	c.silence(20 * time.Millisecond)
	c.ack(1)
	c.wantPacket(data(2, file[512:1024]))
	c.ack(2)
	c.wantPacket(data(3, file[1024:]))
	c.ack(3)
	r.want(Served)
}

func TestErrorsOfTheClient(t *testing.T) {
	file := content(5000)
	tests := []struct {
		name   string
		blocks uint16 // acknowledged before
		packet []byte
		kind   Kind
	}{
		{"early terminate", 0, earlyTerminate, EarlyTerminate},
		{"no text, no NUL", 0, []byte{0, 5, 0, 0}, EarlyTerminate},
		{"after one block", 1, earlyTerminate, EarlyTerminate},
		{"in the middle", 3, earlyTerminate, Failed},
		{"disk full", 0, rrqError(3, "disk full"), Failed},
		{"option refused", 0, rrqError(8, "no"), EarlyTerminate},
		{"truncated", 0, []byte{0, 5}, EarlyTerminate},
		{"long and not printable", 3, rrqError(0, strings.Repeat("\x1b[2J", 5000)), Failed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, map[string][]byte{"f": file}, nil)
			c := r.pi()
			c.ask("f", "octet")
			for n := range tt.blocks {
				c.wantPacket(data(n+1, file[int(n)*512:int(n+1)*512]))
				c.ack(n + 1)
			}
			c.recv()
			c.send(c.tid, tt.packet)
			e := r.want(tt.kind)
			if !errors.Is(e.Err, ErrClient) || strings.Contains(e.Err.Error(), "\x1b") || len(e.Err.Error()) > 300 {
				t.Errorf("error %q", e.Err)
			}
			c.silence(20 * time.Millisecond)
		})
	}
}

func rrqError(code uint16, text string) []byte { return appendError(nil, wireError{code, text}) }

// A file that becomes shorter fails; what a file grows by is left out.
func TestFileChangesWhileServed(t *testing.T) {
	r := newRig(t, nil, func(c *Config) {
		c.Tree = treeFunc(func(r Request) (File, error) {
			size := map[string]int64{"shrunk": 2000, "grown": 700, "negative": -5}[r.Name]
			return &memFile{Reader: bytes.NewReader(content(1000)), size: size, tree: new(memTree)}, nil
		})
	})
	c := r.pi()
	c.ask("shrunk", "octet")
	c.wantPacket(data(1, content(512)))
	c.ack(1)
	c.wantPacket([]byte("\x00\x05\x00\x00server error\x00"))
	if e := r.want(Failed); !errors.Is(e.Err, ErrTruncated) {
		t.Errorf("event %+v", e)
	}
	c.ask("grown", "octet")
	if got := c.rest(512); !bytes.Equal(got, content(700)) {
		t.Errorf("%d octets, want 700", len(got))
	}
	r.want(Served)
	c.ask("negative", "octet")
	c.wantPacket(data(1, nil))
	c.ack(1)
	r.want(Served)
}

func TestTimeLimit(t *testing.T) {
	file := content(100_000)
	r := newRig(t, map[string][]byte{"f": file}, func(c *Config) { c.MaxTime = 50 * time.Millisecond })
	c := r.pi()
	c.ask("f", "octet")
	p := c.recv()
	for block := uint16(1); opcode(p) == opDATA; block++ { // it keeps up, but slowly
		if early, err := c.tryRecv(5 * time.Millisecond); err == nil {
			p = early
			break
		}
		c.ack(block)
		p = c.recv()
	}
	if string(p) != "\x00\x05\x00\x00transfer took too long\x00" {
		t.Errorf("got %q", p)
	}
	if e := r.want(Failed); !errors.Is(e.Err, ErrTimeLimit) {
		t.Errorf("event %+v", e)
	}
}

func TestStop(t *testing.T) {
	r := newRig(t, map[string][]byte{"f": content(5000)}, nil)
	c := r.pi()
	c.ask("f", "octet")
	c.recv()
	r.stop()
	c.wantPacket([]byte("\x00\x05\x00\x00server is stopping\x00"))
	if e := r.want(Failed); !errors.Is(e.Err, ErrStopped) {
		t.Errorf("event %+v", e)
	}
}

func TestNewRefusesBadConfiguration(t *testing.T) {
	pc, err := Listen(t.Context(), "127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	for name, c := range map[string]Config{
		"no socket":       {Tree: new(memTree)},
		"no tree":         {Conn: pc},
		"negative limit":  {Conn: pc, Tree: new(memTree), MaxTransfers: -1},
		"negative time":   {Conn: pc, Tree: new(memTree), Timeout: -1},
		"block too small": {Conn: pc, Tree: new(memTree), MaxBlkSize: 8},
		"block too large": {Conn: pc, Tree: new(memTree), MaxBlkSize: 65465},
	} {
		if _, err := New(c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListenRefusesUnknownDevice(t *testing.T) {
	if _, err := Listen(t.Context(), "127.0.0.1:0", "no-such-device"); err == nil {
		t.Error("no error")
	}
}
