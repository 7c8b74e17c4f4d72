package poe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"
)

// agentFunc answers one decoded request; nil says nothing.
type agentFunc func(req *gosnmp.SnmpPacket) *gosnmp.SnmpPacket

// hostile serves f on loopback and returns a driver of it, with eight ports.
func hostile(t *testing.T, cfg Config, f agentFunc) *SNMP {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		serveHostile(conn, f)
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	cfg.Name, cfg.Community = "hostile", "public"
	cfg.Addr = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	cfg.Timeout, cfg.Retries, cfg.MinOff = 500*time.Millisecond, -1, -1
	cfg.ReadBack, cfg.OnLimit, cfg.OffLimit = 5*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	for n := 1; n <= 8 && cfg.Profile != "discover"; n++ {
		cfg.Ports = append(cfg.Ports, PortIndex{Number: n, IfIndex: n, BridgePort: n})
	}
	if cfg.Profile == "discover" {
		cfg.Profile = ""
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func serveHostile(conn net.PacketConn, f agentFunc) {
	buf := make([]byte, 65535)
	for {
		n, peer, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		req, err := decodePacket(buf[:n])
		if err != nil {
			continue
		}
		resp := f(req)
		if resp == nil {
			continue
		}
		resp.Version, resp.Community, resp.RequestID = gosnmp.Version2c, "public", req.RequestID
		if resp.PDUType == 0 {
			resp.PDUType = gosnmp.GetResponse
		}
		if out, err := resp.MarshalMsg(); err == nil {
			_, _ = conn.WriteTo(out, peer)
		}
	}
}

func reply(vars ...gosnmp.SnmpPDU) *gosnmp.SnmpPacket { return &gosnmp.SnmpPacket{Variables: vars} }

func each(req *gosnmp.SnmpPacket, f func(oid string) gosnmp.SnmpPDU) *gosnmp.SnmpPacket {
	resp := reply()
	for _, v := range req.Variables {
		a := f(v.Name)
		if a.Name == "" {
			a.Name = v.Name
		}
		resp.Variables = append(resp.Variables, a)
	}
	return resp
}

// good answers 1 to everything: enabled, and detection "disabled".
func good(req *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
	return each(req, func(string) gosnmp.SnmpPDU { return integer(1) })
}

func TestHostileGet(t *testing.T) {
	for name, test := range map[string]struct {
		agent agentFunc
		err   error // of the poll
	}{
		"good": {good, nil},
		"other objects": {func(req *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
			return each(req, func(oid string) gosnmp.SnmpPDU { v := integer(1); v.Name = oid + ".1"; return v })
		}, ErrAnswer},
		"too few": {func(req *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
			r := good(req)
			r.Variables = r.Variables[1:]
			return r
		}, ErrAnswer},
		"too many": {func(req *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
			r := good(req)
			r.Variables = append(r.Variables, r.Variables...)
			return r
		}, ErrAnswer},
		"another PDU": {func(req *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
			r := good(req)
			r.PDUType = gosnmp.SNMPv2Trap
			return r
		}, ErrAnswer},
		"always tooBig":  {func(*gosnmp.SnmpPacket) *gosnmp.SnmpPacket { return &gosnmp.SnmpPacket{Error: gosnmp.TooBig} }, ErrAnswer},
		"silence":        {func(*gosnmp.SnmpPacket) *gosnmp.SnmpPacket { return nil }, ErrNoAnswer},
		"genErr, no one": {func(*gosnmp.SnmpPacket) *gosnmp.SnmpPacket { return &gosnmp.SnmpPacket{Error: gosnmp.GenErr} }, ErrAnswer},
		"index over end": {func(*gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
			return &gosnmp.SnmpPacket{Error: gosnmp.GenErr, ErrorIndex: 200}
		}, ErrAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			d := hostile(t, Config{}, test.agent)
			r, err := d.Poll(t.Context())
			if !errors.Is(err, test.err) {
				t.Fatalf("Poll: %v, want %v", err, test.err)
			}
			for _, s := range r.Ports {
				checkState(t, s)
				if (s.Err == nil) != (test.err == nil) {
					t.Errorf("port %+v", s)
				}
			}
			if len(r.Ports) != 8 {
				t.Errorf("%d ports", len(r.Ports))
			}
		})
	}
}

// TestPartialAnswers reads through agents that are only a little wrong.
func TestPartialAnswers(t *testing.T) {
	few := func(req *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
		if len(req.Variables) > 3 {
			return &gosnmp.SnmpPacket{Error: gosnmp.TooBig}
		}
		return good(req)
	}
	// One that answers a whole request with genErr for one object it cannot read.
	picky := func(req *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
		for i, v := range req.Variables {
			if v.Name == oidPethShort+".1.3" || v.Name == oidSysDescr {
				return &gosnmp.SnmpPacket{Error: gosnmp.GenErr, ErrorIndex: uint8(i + 1), SnmpTrap: gosnmp.SnmpTrap{}, Variables: req.Variables}
			}
		}
		return good(req)
	}
	for name, agent := range map[string]agentFunc{"three objects a time": few, "one is unreadable": picky} {
		r, err := hostile(t, Config{}, agent).Poll(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, s := range r.Ports {
			if s.Err != nil || s.Admin != AdminEnabled || s.Detection != DetectionDisabled {
				t.Errorf("%s: %+v", name, s)
			}
		}
	}
}

// TestPollStopsHalfWay keeps what was read before the switch fell silent.
func TestPollStopsHalfWay(t *testing.T) {
	requests := 0
	d := hostile(t, Config{}, func(req *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
		if requests++; requests > 2 { // the head, and four ports
			return nil
		}
		return good(req)
	})
	r, err := d.Poll(t.Context())
	if !errors.Is(err, ErrNoAnswer) || r.Err == nil {
		t.Fatalf("Poll: %v", err)
	}
	for i, s := range r.Ports {
		if known := i < 4; (s.Err == nil) != known || (s.Admin == AdminEnabled) != known {
			t.Errorf("port %+v", s)
		}
	}
}

func TestHostileWalk(t *testing.T) {
	n := 0
	next := func(oid string) gosnmp.SnmpPDU { // always a further row of the same column
		n++
		return gosnmp.SnmpPDU{Name: oidPethDetectionStatus + fmt.Sprintf(".1.%d", n), Type: gosnmp.Integer, Value: 1}
	}
	for name, agent := range map[string]agentFunc{
		"without end": func(req *gosnmp.SnmpPacket) *gosnmp.SnmpPacket { return each(req, next) },
		"in a circle": func(req *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
			return reply(gosnmp.SnmpPDU{Name: oidPethDetectionStatus + ".1.1", Type: gosnmp.Integer, Value: 1})
		},
		"empty": func(*gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
			return reply(gosnmp.SnmpPDU{Name: ".1.4", Type: gosnmp.EndOfMibView})
		},
	} {
		t.Run(name, func(t *testing.T) {
			n = 0
			d := hostile(t, Config{Profile: "discover"}, agent)
			if found, err := d.Discover(t.Context()); !errors.Is(err, ErrAnswer) {
				t.Errorf("Discover: %d ports, %v", len(found), err)
			}
			r, err := d.Poll(t.Context())
			if !errors.Is(err, ErrAnswer) || len(r.Ports) != 0 {
				t.Errorf("Poll: %v", err)
			}
		})
	}
}

// TestLostSetAnswer sets a switch that does it but whose answer is lost.
func TestLostSetAnswer(t *testing.T) {
	admin := 1
	d := hostile(t, Config{}, func(req *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
		if req.PDUType == gosnmp.SetRequest {
			admin = req.Variables[0].Value.(int)
			return nil
		}
		return each(req, func(oid string) gosnmp.SnmpPDU {
			if oid == oidPethAdminEnable+".1.2" {
				return integer(admin)
			}
			return integer(1)
		})
	})
	if s, err := d.SetPower(t.Context(), 2, false); err != nil || s.Admin != AdminDisabled {
		t.Fatalf("SetPower: %+v, %v", s, err)
	}
}

func TestReadOnlyProfile(t *testing.T) {
	d := hostile(t, Config{Profile: "mikrotik"}, func(req *gosnmp.SnmpPacket) *gosnmp.SnmpPacket {
		if req.PDUType == gosnmp.SetRequest {
			t.Error("a SET was sent")
		}
		return good(req)
	})
	if _, err := d.SetPower(t.Context(), 1, true); !errors.Is(err, ErrReadOnly) || !IsPermanent(err) || Hint(err) == "" {
		t.Fatalf("SetPower: %v", err)
	}
}

// TestCancelWhileWaiting ends calls that wait for their turn, for an answer,
// and for the end of the time off.
func TestCancelWhileWaiting(t *testing.T) {
	d := hostile(t, Config{}, func(*gosnmp.SnmpPacket) *gosnmp.SnmpPacket { return nil })
	d.sess.cfg.Timeout = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 2)
	for range 2 {
		go func() { _, err := d.Poll(ctx); errs <- err }()
	}
	cancel()
	for range 2 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("Poll: %v", err)
		}
	}
	d.offNow(1)
	d.cfg.MinOff = time.Minute
	if _, err := d.SetPower(ctx, 1, true); !errors.Is(err, context.Canceled) {
		t.Errorf("SetPower: %v", err)
	}
	// Close ends what waits for an answer.
	go func() { _, err := d.Poll(t.Context()); errs <- err }()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-errs; !errors.Is(err, ErrClosed) {
		t.Errorf("Poll after Close: %v", err)
	}
}
