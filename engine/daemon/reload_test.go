package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/netboot/tftp"
)

// deaf is a switch that nobody answers for.
func deaf(name string) config.Switch {
	sw := config.DefaultSwitch()
	sw.Name, sw.Address, sw.Profile, sw.Ports = name, netip.MustParseAddrPort("127.0.0.1:9"), Known().Profiles[0], 4
	sw.Credentials = config.Credentials{ReadCommunity: "public", WriteCommunity: "private"}
	return sw
}

func TestSwitchesChangeAllOrNone(t *testing.T) {
	s := &switches{observe: func(engine.Observation) {}, log: slog.New(slog.DiscardHandler), speed: 1}
	if err := s.set([]config.Switch{deaf("a"), deaf("b")}, time.Second); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()

	a, b := s.running["a"], s.running["b"]
	bad := deaf("c")
	bad.Profile = "no such profile"
	slower := deaf("a")
	slower.Poll = time.Minute
	if err := s.set([]config.Switch{slower, bad}, time.Second); err == nil {
		t.Fatal("a profile that does not exist was taken")
	}
	if s.running["a"] != a || s.running["b"] != b || len(s.running) != 2 {
		t.Errorf("a reload that failed changed the switches: %v", s.running)
	}
	if err := s.set([]config.Switch{slower}, time.Second); err != nil {
		t.Fatal(err)
	}
	if s.running["a"] == a || s.running["b"] != nil {
		t.Errorf("a reload changed nothing: %v", s.running)
	}
	if _, err := s.SetPower(ctx, engine.PortID{Switch: "b", Port: 1}, true); !errors.Is(err, errNoSwitch) {
		t.Errorf("power at a switch that is gone: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := s.set([]config.Switch{deaf("d")}, time.Second); !errors.Is(err, errClosed) {
		t.Errorf("a reload after the end: %v", err)
	}
}

func TestNeighboursCheckAfterClose(t *testing.T) {
	n := newNeighbours(&routes{}, slog.New(slog.DiscardHandler))
	n.close()
	if err := n.open(); !errors.Is(err, errClosed) {
		t.Errorf("opened again: %v", err)
	}
	n.close()
}

func TestFilesAreInTheOrderTheyWereAskedFor(t *testing.T) {
	now := time.Now()
	o := tftpObservation(tftp.Event{
		Time: now, Took: time.Second, Kind: tftp.NotFound, Name: "x", Client: netip.MustParseAddrPort("127.64.0.2:49152"),
	})
	if !o.TFTP.Asked.Equal(now.Add(-time.Second)) {
		t.Errorf("asked at %s, told at %s", o.TFTP.Asked, now)
	}
}
