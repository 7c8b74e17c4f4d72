package hwtest

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"picloud/hw/poe"
	"picloud/hw/sim/poeswitch"
)

// rack is a 48-port switch with a device at every port, all off.
func rack(t testing.TB) (*poeswitch.Switch, poe.Config, func()) {
	t.Helper()
	sw, err := poeswitch.New(poeswitch.Config{
		Name: "sim", Ports: 48, BudgetWatts: 2000, ReadCommunity: "public", WriteCommunity: "private",
		Disabled: true, Timing: poeswitch.Timing{Speed: 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 48; n++ {
		if err := sw.Attach(n, poeswitch.Device{Class: 4, Milliwatts: func() int { return 3000 + n }}); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sw.Serve(ctx, conn) }()
	cfg := poe.Config{
		Name: "sim", Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), Community: "private", Profile: "cisco-smb",
		Timeout: 200 * time.Millisecond, Retries: 1, MinOff: 50 * time.Millisecond, ReadBack: 20 * time.Millisecond,
	}
	return sw, cfg, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
}

// TestWorkerOnSimulatedSwitch powers 48 ports at once, silences the switch,
// lets it speak again and leaves no goroutine behind.
func TestWorkerOnSimulatedSwitch(t *testing.T) {
	before := runtime.NumGoroutine()
	sw, cfg, stop := rack(t)
	d, err := poe.New(cfg)
	check(t, err)
	readings := make(chan poe.Reading, 1000)
	w := poe.NewWorker(d, poe.WorkerConfig{Interval: 30 * time.Millisecond, Publish: func(r poe.Reading) {
		select {
		case readings <- r:
		default:
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()

	first := await(t, readings, func(r poe.Reading) bool { return r.Err == nil })
	if len(first.Ports) != 48 || first.PSE[0].BudgetWatts != 2000 {
		t.Fatalf("first reading: %d ports, %+v", len(first.Ports), first.PSE)
	}
	var all sync.WaitGroup
	for n := 1; n <= 48; n++ {
		all.Go(func() {
			s, err := w.Submit(ctx, n, true)
			if err != nil || !s.On() || s.Milliwatts != 3000+n {
				t.Errorf("Submit: %+v, %v", s, err)
			}
		})
	}
	all.Wait()
	await(t, readings, func(r poe.Reading) bool {
		for _, s := range r.Ports {
			if !s.On() {
				return false
			}
		}
		return r.Err == nil && r.PSE[0].ConsumptionWatts > 48*3
	})
	sw.SetSilent(true)
	gone := await(t, readings, func(r poe.Reading) bool { return r.Err != nil && r.Ports[47].Err != nil && r.Ports[0].Err != nil })
	if !errors.Is(gone.Err, poe.ErrNoAnswer) || gone.Answered.IsZero() || !gone.Answered.Before(gone.At) || gone.Ports[5].Detection != poe.DetectionUnknown {
		t.Errorf("reading of a silent switch: %+v", gone)
	}
	if _, err := w.Submit(ctx, 1, false); !errors.Is(err, poe.ErrNoAnswer) || !sw.Delivering(1) {
		t.Errorf("Submit to a silent switch: %v", err)
	}
	sw.SetSilent(false)
	await(t, readings, func(r poe.Reading) bool { return r.Err == nil && r.Ports[0].On() })

	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	check(t, d.Close())
	stop()
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func await(t *testing.T, readings <-chan poe.Reading, f func(poe.Reading) bool) poe.Reading {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case r := <-readings:
			if f(r) {
				return r
			}
		case <-limit:
			t.Fatal("no such reading within 20 s")
		}
	}
}

// TestSlowSwitch: every answer is late, but within the driver's time.
func TestSlowSwitch(t *testing.T) {
	sw, cfg, stop := rack(t)
	defer stop()
	cfg.Timeout = 2 * time.Second
	d := driver(t, cfg)
	sw.SetDelay(10 * time.Millisecond)
	if r, err := d.Poll(t.Context()); err != nil || len(r.Ports) != 48 {
		t.Errorf("Poll: %d ports, %v", len(r.Ports), err)
	}
	if s, err := d.SetPower(t.Context(), 7, true); err != nil || !s.On() {
		t.Errorf("SetPower: %+v, %v", s, err)
	}
}

// BenchmarkPoll48 reads a 48-port switch over loopback: nine objects a port.
func BenchmarkPoll48(b *testing.B) {
	_, cfg, stop := rack(b)
	defer stop()
	d, err := poe.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	b.ReportAllocs()
	for b.Loop() {
		if r, err := d.Poll(b.Context()); err != nil || len(r.Ports) != 48 {
			b.Fatal(err)
		}
	}
}
