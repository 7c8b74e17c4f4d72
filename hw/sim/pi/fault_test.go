package pi

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"picloud/netboot/bootfs/order"
)

// Every fault of the Pi ends with it not up, where the table says that it shows.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		fault, stage, detail string
		check                func(*server, Counters) bool
	}{
		{NoLink, StageDead, "no link", func(_ *server, c Counters) bool { return c.Discovers == 0 }},
		{NoNetboot, StageDead, "network boot", func(_ *server, c Counters) bool { return c.Discovers == 0 }},
		{OfferIgnored, "", "", func(s *server, c Counters) bool { return c.Discovers >= 3 && len(s.requests()) == 0 }},
		{BadFirmware, StageDead, "file not found", func(s *server, _ Counters) bool {
			last := s.requests()
			return strings.Contains(last[len(last)-1], ".dtb ")
		}},
		{BootLoop, "", "", func(s *server, c Counters) bool { return c.Resets >= 3 && c.Mounts == 0 }},
		{EEPROMHang, StageDead, "hung after tftp time-out", nil},
		{TFTPStall, StageDead, "hung in kernel", nil},
		{KernelHang, StageDead, "hung: kernel", func(_ *server, c Counters) bool { return c.Mounts == 0 }},
		{NFSStuck, StageKernel, "no such file", func(_ *server, c Counters) bool { return c.Mounts == 0 }},
		{NoSSH, StageRoot, "sshd", func(s *server, c Counters) bool { return c.Mounts == 1 && !s.sshOpen() }},
	} {
		f, err := FaultNamed(tt.fault)
		if err != nil {
			t.Fatal(err)
		}
		for _, fam := range []order.Family{order.Pi3B, order.Pi5} {
			if !f.Fits(fam) {
				continue
			}
			t.Run(tt.fault+"/"+string(fam), func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				s.delay = 25 * time.Millisecond
				b := testBoard(fam)
				s.boot(fam, b.SerialText()+"/")
				cfg := s.config(b, tt.fault)
				p := startPatient(t, cfg, patient)
				ended := func() bool {
					st := p.State()
					return (tt.stage == "" || st.Stage == tt.stage && strings.Contains(st.Detail, tt.detail)) &&
						(tt.check == nil || tt.check(s, p.Counters()))
				}
				for end := time.Now().Add(10 * time.Second); !ended(); time.Sleep(5 * time.Millisecond) {
					if p.State().Stage == StageUp || time.Now().After(end) {
						t.Fatalf("state %+v, want %s %q; counters %+v", p.State(), tt.stage, tt.detail, p.Counters())
					}
				}
			})
		}
	}
}

func (s *server) sshOpen() bool {
	c, err := net.Dial("tcp4", netip.AddrPortFrom(s.pi, 40022).String())
	if err == nil {
		c.Close()
	}
	return err == nil
}

// The table is whole: every fault has its words, its families and a place.
func TestFaultTable(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range append(Faults(), ExamFaults()...) {
		if seen[f.Name] || f.Does == "" || f.Shows == "" || f.Cause == "" || len(f.Families) == 0 || f.Place == "" {
			t.Errorf("fault %+v", f)
		}
		seen[f.Name] = true
	}
	if _, err := FaultNamed("rust"); !errors.Is(err, ErrUnknownFault) {
		t.Errorf("unknown fault: %v", err)
	}
}

func TestNewErrors(t *testing.T) {
	nic := &Loopback{}
	for _, tt := range []struct {
		name string
		cfg  Config
		want error
	}{
		{"no family", Config{NIC: nic}, ErrConfig},
		{"no NIC", Config{Board: testBoard(order.Pi5)}, ErrConfig},
		{"speed", Config{Board: testBoard(order.Pi5), NIC: nic, Speed: -1}, ErrConfig},
		{"fault", Config{Board: testBoard(order.Pi5), NIC: nic, Fault: "rust"}, ErrUnknownFault},
		{"fault of another family", Config{Board: testBoard(order.Pi3B), NIC: nic, Fault: EEPROMHang}, ErrConfig},
	} {
		if _, err := New(tt.cfg); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// Power that is cut at any moment ends everything: the Pi is off, its port has no
// link and no draw, its sockets are closed, and no goroutine is left in the end.
func TestPowerCut(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("cut", func(t *testing.T) {
		s := newServer(t)
		s.delay = 5 * time.Millisecond
		b := testBoard(order.Pi4B)
		s.boot(order.Pi4B, b.SerialText()+"/")
		port := &meter{}
		cfg := s.config(b, "")
		cfg.Port = port
		p, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		p.minWait = 80 * time.Millisecond
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		rng := rand.New(rand.NewPCG(4, 4))
		for range 25 {
			p.SetPower(true)
			time.Sleep(time.Duration(rng.IntN(120)) * time.Millisecond)
			p.SetPower(false)
			await(t, p, StageOff)
			if link, draw := port.read(); link || draw != 0 {
				t.Fatalf("off, and link %t, %d mW", link, draw)
			}
		}
		p.SetPower(true)
		await(t, p, StageUp)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if st := p.State(); st.Stage != StageOff {
			t.Errorf("state %+v after Run", st)
		}
		if s.sshOpen() {
			t.Error("SSH answers after Run")
		}
	})
	for end := time.Now().Add(3 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines more than before\n%s", runtime.NumGoroutine()-before, buf[:runtime.Stack(buf, true)])
		}
	}
}
