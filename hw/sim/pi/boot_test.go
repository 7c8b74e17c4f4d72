package pi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"picloud/netboot/bootfs/order"
)

// start runs a Pi with power until the test ends.
func start(t *testing.T, cfg Config) *Pi {
	t.Helper()
	return startPatient(t, cfg, 80*time.Millisecond)
}

// patient is the least wait for a packet where a test counts on the first one.
const patient = 160 * time.Millisecond

// startPatient is start, of a Pi that waits so long for a packet at least.
func startPatient(t *testing.T, cfg Config, minWait time.Duration) *Pi {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.minWait = minWait
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	p.SetPower(true)
	return p
}

// await waits until the Pi is in one of the stages.
func await(t *testing.T, p *Pi, stages ...string) State {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for time.Now().Before(deadline) {
		if s := p.State(); slices.Contains(stages, s.Stage) {
			return s
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatalf("Pi is %+v, want %v; counters %+v", p.State(), stages, p.Counters())
	return State{}
}

func testBoard(f order.Family) Board {
	b, err := NewBoard(f, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		panic(err)
	}
	return b
}

func TestBootsOfEachFamily(t *testing.T) {
	for _, f := range order.Families() {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.delay = 25 * time.Millisecond
			b := testBoard(f)
			s.boot(f, b.SerialText()+"/")
			p := start(t, s.config(b, ""))
			if got := await(t, p, StageUp, StageDead); got != (State{StageUp, "a3-001"}) {
				t.Fatalf("state %+v, counters %+v\n%s", got, p.Counters(), strings.Join(s.requests(), "\n"))
			}
			if got := readBanner(t, s); got != banners["trixie"] {
				t.Errorf("banner %q", got)
			}
			t.Logf("%d requests, %+v", len(s.requests()), p.Counters())
		})
	}
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rrqs)
}

func readBanner(t *testing.T, s *server) string {
	t.Helper()
	c, err := net.Dial("tcp4", netip.AddrPortFrom(s.pi, 40022).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(line, "\r\n")
}

// What each family sends, byte for byte, and how the requests follow each other.
func TestMessagesOnTheWire(t *testing.T) {
	for _, f := range order.Families() {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.delay = 25 * time.Millisecond
			b := testBoard(f)
			s.boot(f, b.SerialText()+"/")
			p := start(t, s.config(b, ""))
			await(t, p, StageUp)
			s.checkMessages(b)
			if got := s.requests()[:3]; !slices.Equal(got, firstRequests(b)) {
				t.Errorf("requests %q, want %q", got, firstRequests(b))
			}
			if want := []uint16{49152, 49153}; !f.UsesBootcode() && !slices.Equal(s.ports[:2], want) {
				t.Errorf("ports %v, want %v", s.ports[:2], want)
			}
			if f.UsesBootcode() && !slices.Equal(s.ports[:3], []uint16{49152, 49153, 49152}) {
				t.Errorf("ports %v: bootcode.bin does not begin at 49152 again", s.ports[:3])
			}
			for _, e := range s.ends {
				if e != earlyTerminate {
					t.Errorf("a transfer ended with %q", e)
				}
			}
		})
	}
}

// checkMessages compares the DHCP messages with those of the facts: the ROM's and
// bootcode.bin's DISCOVER, or DISCOVER and REQUEST of one xid.
func (s *server) checkMessages(b Board) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	first, last := s.messages[0], s.messages[len(s.messages)-1]
	if b.Family.UsesBootcode() {
		d := romDialect[b.Family]
		if !bytes.Equal(first, d.discover(b, 0x26f30339)) || !bytes.Equal(last, dialectBootcode.discover(b, 0x26f30339)) {
			s.t.Errorf("ROM sent\n%x\nbootcode.bin\n%x", first, last)
		}
		return
	}
	xid := binary.BigEndian.Uint32(first[4:])
	if !bytes.Equal(first, dialectEEPROM.discover(b, xid)) || !bytes.Equal(last, dialectEEPROM.request(b, xid, s.pi, s.addr)) {
		s.t.Errorf("EEPROM sent\n%x\nthen\n%x", first, last)
	}
}

func firstRequests(b Board) []string {
	s := b.SerialText()
	switch b.Family {
	case order.Pi4B:
		return []string{s + "/start4.elf octet tsize 0 blksize 1024", s + "/config.txt octet tsize 0 blksize 1024", s + "/autoboot.txt octet tsize 0 blksize 1024"}
	case order.Pi5:
		return []string{s + "/start4.elf octet tsize 0 blksize 1468", s + "/start.elf octet tsize 0 blksize 1468", s + "/autoboot.txt octet tsize 0 blksize 1468"}
	default:
		return []string{"bootcode.bin octet", "bootsig.bin octet", s + "/start.elf octet tsize 0"}
	}
}

// A folder without a start file beneath the serial number is left for the root of
// the TFTP server.
func TestPrefixIsDropped(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := testBoard(order.Pi4B)
	s.boot(order.Pi4B, "")
	p := start(t, s.config(b, ""))
	await(t, p, StageUp)
	got := s.requests()[:3]
	for i, name := range []string{b.SerialText() + "/start4.elf ", b.SerialText() + "/start.elf ", "start4.elf "} {
		if !strings.HasPrefix(got[i], name) {
			t.Errorf("request %d is %q, want %q", i, got[i], name)
		}
	}
}

// What a server does wrong, and what becomes of the Pi.
func TestServerMistakes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		family order.Family
		set    func(*server)
		want   State
		check  func(Counters) bool
	}{
		{"no answer to a 3B", order.Pi3B, func(s *server) { s.mute = func(int) bool { return true } },
			State{StageDead, errSilent.Error()}, func(c Counters) bool { return c.Discovers == 5 }},
		{"3B answered too soon", order.Pi3B, func(s *server) { s.delay = 0 },
			State{StageDead, errSilent.Error()}, func(c Counters) bool { return c.Discovers == 5 && c.TooSoon >= 4 }},
		{"3B without the three blanks", order.Pi3B, func(s *server) {
			s.vendor, s.next = "\x06\x01\x03\x0a\x04\x00PXE\x09\x14\x00\x00\x11Raspberry Pi Boot\xff", ""
		}, State{StageDead, errSilent.Error()}, nil},
		{"3B+ without the three blanks", order.Pi3BPlus, func(s *server) {
			s.vendor, s.next = "\x06\x01\x03\x0a\x04\x00PXE\x09\x14\x00\x00\x11Raspberry Pi Boot\xff", ""
		}, State{StageUp, "a3-001"}, nil},
		{"raw text", order.Pi3B, func(s *server) { s.vendor, s.next = "Raspberry Pi Boot   ", "" },
			State{StageUp, "a3-001"}, nil},
		{"4B without option 43", order.Pi4B, func(s *server) { s.vendor = "PXE" },
			State{StageDHCP, "DISCOVER 3"}, nil},
		{"no start file", order.Pi3BPlus, func(s *server) { clear(s.files); s.files["bootcode.bin"] = nil },
			State{StageDead, "firmware stopped: pi: tftp start.elf: file not found"}, nil},
		{"NFS version 4", order.Pi5, func(s *server) { s.exported += ",vers=4.1" },
			State{StageDead, errNFS4.Error()}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.delay = 25 * time.Millisecond
			b := testBoard(tt.family)
			s.boot(tt.family, b.SerialText()+"/")
			tt.set(s)
			if tt.name == "NFS version 4" {
				s.files[b.SerialText()+"/cmdline.txt"] = []byte(strings.Replace(s.cmdline(), "vers=3,", "", 1))
			}
			cfg := s.config(b, "")
			p := start(t, cfg)
			end := time.Now().Add(10 * time.Second)
			for p.State() != tt.want {
				if time.Now().After(end) {
					t.Fatalf("state %+v, want %+v; %+v", p.State(), tt.want, p.Counters())
				}
				time.Sleep(2 * time.Millisecond)
			}
			if c := p.Counters(); tt.check != nil && !tt.check(c) {
				t.Errorf("counters %+v", c)
			}
		})
	}
}

// A 3B that looks at a packet only when the next one comes takes the first OFFER
// when it is nudged, and else waits for the second.
func TestNudge(t *testing.T) {
	for _, nudge := range []bool{true, false} {
		t.Run(fmt.Sprint(nudge), func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.delay, s.nudge = 25*time.Millisecond, nudge
			b := testBoard(order.Pi3B)
			s.boot(order.Pi3B, b.SerialText()+"/")
			cfg := s.config(b, "")
			cfg.Seed = seedOf(true)
			p := startPatient(t, cfg, patient)
			await(t, p, StageFirmware)
			want := int64(2)
			if nudge {
				want = 1
			}
			if c := p.Counters(); c.Discovers != want || c.Held == 0 {
				t.Errorf("counters %+v, want %d DISCOVERs", c, want)
			}
		})
	}
}

// seedOf finds a seed whose 3B holds packets back, or does not, and is not deaf.
func seedOf(hold bool) uint64 {
	for seed := range uint64(100) {
		b := &boot{Pi: &Pi{cfg: Config{Board: testBoard(order.Pi3B)}}, board: rand.New(rand.NewPCG(seed, 0))}
		if b.quirksOf() == (quirks{hold: hold}) {
			return seed
		}
	}
	panic("no seed")
}
