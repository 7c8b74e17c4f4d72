// Package hwtest holds the behaviour that every driver of hardware must show,
// as suites that run on the simulated hardware and on the real one.
package hwtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"picloud/hw/poe"
)

// Harness is a switch under test, and what may be done to it.
type Harness struct {
	Switch poe.Switch
	// Loaded is a port with a device that may be switched off and on.
	Loaded int
	// Empty is a port without a device; 0 means that there is none.
	Empty int
	// MAC is an address that the switch has learned at port Loaded; zero
	// means that none is known.
	MAC [6]byte

	// What only a simulated switch can be told; nil skips the tests.
	Silence    func(bool)
	Lie        func(port int, lie bool)
	Fault      func(port int, fault bool)
	Deny       func(port int, deny bool)
	Delivering func(port int) bool // the truth beside what SNMP says
}

// TestSwitch runs the suite; every subtest gets a harness of its own from open,
// which also cleans up. On a real switch the device at Harness.Loaded is
// switched off and on.
func TestSwitch(t *testing.T, open func(t *testing.T) Harness) {
	tests := []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"Poll", testPoll},
		{"OffAndOn", testOffAndOn},
		{"Read", testRead},
		{"NoSuchPort", testNoSuchPort},
		{"EmptyPort", testEmptyPort},
		{"Addresses", testAddresses},
		{"SilentIsUnknown", testSilent},
		{"SilentIsNotSet", testSilentSet},
		{"Lie", testLie},
		{"Fault", testFault},
		{"Denied", testDenied},
		{"Cancel", testCancel},
		{"Close", testClose},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func find(t *testing.T, r poe.Reading, port int) poe.PortState {
	t.Helper()
	for _, s := range r.Ports {
		if s.Port == port {
			return s
		}
	}
	t.Fatalf("port %d is not in the reading", port)
	return poe.PortState{}
}

func testPoll(t *testing.T, h Harness) {
	before := time.Now()
	r, err := h.Switch.Poll(t.Context())
	if err != nil || r.Err != nil {
		t.Fatalf("Poll: %v, Reading.Err %v", err, r.Err)
	}
	if r.Switch == "" || r.SysDescr == "" || r.Uptime < 0 {
		t.Errorf("Poll: switch %q, description %q, uptime %v", r.Switch, r.SysDescr, r.Uptime)
	}
	if r.Answered.Before(before) || r.At.Before(r.Answered) {
		t.Errorf("Poll: answered %v, read %v, began %v", r.Answered, r.At, before)
	}
	for i, s := range r.Ports {
		if i > 0 && r.Ports[i-1].Port >= s.Port {
			t.Errorf("ports %d and %d are out of order", r.Ports[i-1].Port, s.Port)
		}
		if s.Err != nil || s.Admin == poe.AdminUnknown || s.Detection == poe.DetectionUnknown || s.At.Before(before) {
			t.Errorf("port %d: %+v", s.Port, s)
		}
	}
	find(t, r, h.Loaded)
}

func testOffAndOn(t *testing.T, h Harness) {
	for _, on := range []bool{true, false, true} {
		s, err := h.Switch.SetPower(t.Context(), h.Loaded, on)
		if err != nil {
			t.Fatalf("SetPower(%v): %v", on, err)
		}
		if s.On() != on || (s.Admin == poe.AdminEnabled) != on || s.Port != h.Loaded {
			t.Fatalf("SetPower(%v): %+v", on, s)
		}
		if h.Delivering != nil && h.Delivering(h.Loaded) != on {
			t.Fatalf("SetPower(%v): the port does not agree", on)
		}
	}
}

func testRead(t *testing.T, h Harness) {
	states, err := h.Switch.Read(t.Context(), h.Loaded)
	if err != nil || len(states) != 1 || states[0].Err != nil || states[0].Port != h.Loaded {
		t.Fatalf("Read: %+v, %v", states, err)
	}
}

func testNoSuchPort(t *testing.T, h Harness) {
	const none = 1 << 20
	if _, err := h.Switch.SetPower(t.Context(), none, false); !errors.Is(err, poe.ErrNoPort) {
		t.Errorf("SetPower: %v, want ErrNoPort", err)
	}
	states, err := h.Switch.Read(t.Context(), none)
	if !errors.Is(err, poe.ErrNoPort) || len(states) != 1 || states[0].Err == nil {
		t.Errorf("Read: %+v, %v, want ErrNoPort", states, err)
	}
}

func testEmptyPort(t *testing.T, h Harness) {
	if h.Empty == 0 {
		t.Skip("no empty port")
	}
	s, err := h.Switch.SetPower(t.Context(), h.Empty, true)
	if !errors.Is(err, poe.ErrNoLoad) || s.Admin != poe.AdminEnabled || s.On() {
		t.Fatalf("SetPower: %+v, %v, want ErrNoLoad", s, err)
	}
}

func testAddresses(t *testing.T, h Harness) {
	entries, err := h.Switch.FDB(t.Context())
	if err != nil {
		t.Fatalf("FDB: %v", err)
	}
	if h.MAC == ([6]byte{}) {
		t.Skip("no address is known")
	}
	for _, e := range entries {
		if e.MAC == h.MAC {
			if e.Port != h.Loaded {
				t.Fatalf("FDB: %v is at port %d, want %d", e.HardwareAddr(), e.Port, h.Loaded)
			}
			return
		}
	}
	t.Fatalf("FDB: %x is not among %d addresses", h.MAC, len(entries))
}

func testSilent(t *testing.T, h Harness) {
	if h.Silence == nil {
		t.Skip("cannot be silenced")
	}
	good, err := h.Switch.Poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.Silence(true)
	bad, err := h.Switch.Poll(t.Context())
	if !errors.Is(err, poe.ErrNoAnswer) || !errors.Is(bad.Err, poe.ErrNoAnswer) {
		t.Fatalf("Poll of a silent switch: %v", err)
	}
	if !bad.Answered.Equal(good.Answered) {
		t.Errorf("answered %v, want %v", bad.Answered, good.Answered)
	}
	if len(bad.Ports) != len(good.Ports) {
		t.Fatalf("%d ports, want %d", len(bad.Ports), len(good.Ports))
	}
	for i, s := range bad.Ports {
		known := good.Ports[i]
		want := poe.PortState{Port: known.Port, Class: poe.ClassUnknown, At: known.At, Err: s.Err}
		if s.Err == nil || s != want {
			t.Errorf("port %d of a silent switch: %+v, want unknown since %v", s.Port, s, known.At)
		}
	}
	h.Silence(false)
	again, err := h.Switch.Poll(t.Context())
	if err != nil || !again.Answered.After(good.Answered) {
		t.Fatalf("Poll after the silence: %v", err)
	}
}

func testSilentSet(t *testing.T, h Harness) {
	if h.Silence == nil || h.Delivering == nil {
		t.Skip("cannot be silenced")
	}
	if _, err := h.Switch.SetPower(t.Context(), h.Loaded, true); err != nil {
		t.Fatal(err)
	}
	h.Silence(true)
	s, err := h.Switch.SetPower(t.Context(), h.Loaded, false)
	if !errors.Is(err, poe.ErrNoAnswer) || s.Err == nil || s.Detection != poe.DetectionUnknown || s.At.IsZero() {
		t.Fatalf("SetPower of a silent switch: %+v, %v", s, err)
	}
	var e *poe.Error
	if !errors.As(err, &e) || e.Hint == "" || e.Answered.IsZero() {
		t.Errorf("error %+v has no hint or no age", e)
	}
	if !h.Delivering(h.Loaded) {
		t.Error("a port of a switch that does not answer was switched off")
	}
}

func testLie(t *testing.T, h Harness) {
	if h.Lie == nil {
		t.Skip("cannot lie")
	}
	if _, err := h.Switch.SetPower(t.Context(), h.Loaded, true); err != nil {
		t.Fatal(err)
	}
	h.Lie(h.Loaded, true)
	s, err := h.Switch.SetPower(t.Context(), h.Loaded, false)
	if !errors.Is(err, poe.ErrNotApplied) || !s.On() {
		t.Fatalf("SetPower of a lying switch: %+v, %v", s, err)
	}
	if poe.Hint(err) == "" {
		t.Error("no hint")
	}
}

func testFault(t *testing.T, h Harness) {
	if h.Fault == nil {
		t.Skip("cannot have faults")
	}
	if _, err := h.Switch.SetPower(t.Context(), h.Loaded, false); err != nil {
		t.Fatal(err)
	}
	h.Fault(h.Loaded, true)
	s, err := h.Switch.SetPower(t.Context(), h.Loaded, true)
	if !errors.Is(err, poe.ErrFault) || s.Detection != poe.DetectionFault || s.Overload+s.Short == 0 {
		t.Fatalf("SetPower of a port with a fault: %+v, %v", s, err)
	}
}

func testDenied(t *testing.T, h Harness) {
	if h.Deny == nil {
		t.Skip("cannot deny")
	}
	if _, err := h.Switch.SetPower(t.Context(), h.Loaded, false); err != nil {
		t.Fatal(err)
	}
	h.Deny(h.Loaded, true)
	s, err := h.Switch.SetPower(t.Context(), h.Loaded, true)
	if !errors.Is(err, poe.ErrDenied) || s.On() || s.Denied == 0 {
		t.Fatalf("SetPower of a port that is denied: %+v, %v", s, err)
	}
}

func testCancel(t *testing.T, h Harness) {
	if h.Silence == nil {
		t.Skip("cannot be silenced")
	}
	h.Silence(true)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := h.Switch.Poll(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Poll: %v, want the context's end", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("Poll ended %v after its context", took)
	}
	h.Silence(false)
	if _, err := h.Switch.Poll(t.Context()); err != nil {
		t.Errorf("Poll after one that was cancelled: %v", err)
	}
}

func testClose(t *testing.T, h Harness) {
	if _, err := h.Switch.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.Switch.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Switch.Poll(t.Context()); !errors.Is(err, poe.ErrClosed) {
		t.Errorf("Poll after Close: %v, want ErrClosed", err)
	}
	if _, err := h.Switch.SetPower(t.Context(), h.Loaded, false); !errors.Is(err, poe.ErrClosed) {
		t.Errorf("SetPower after Close: %v, want ErrClosed", err)
	}
}
