// Package demo runs the product on a simulated rack: switches and Pis are
// hw/sim's and speak their true protocols over loopback; everything else is
// what `picloud serve` runs.
package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon"
	"picloud/hw/sim"
)

// Options say what the rack is like.
type Options struct {
	Seed   uint64
	Pis    int
	Speed  float64        // of the firmware and the switches, 1 = real
	New    int            // so many of the Pis have boards that nobody has typed in
	Faults map[string]int // how many Pis get which fault; those of an examination go to new ones
	State  string         // where the store and the roots are kept; "" = a temporary folder
	API    netip.AddrPort // where servers can be ordered; zero = nowhere
	Stage  func(engine.StageChange)
	Log    *slog.Logger
}

// ErrOptions means that no demo can be made of its Options.
var ErrOptions = errors.New("the demo cannot be like that")

func (o Options) check() error {
	switch {
	case o.Pis < 1 || o.Pis > sim.MaxPis:
		return fmt.Errorf("%w: %d Pis, want 1 to %d", ErrOptions, o.Pis, sim.MaxPis)
	case o.API.IsValid() && !o.API.Addr().IsLoopback():
		return fmt.Errorf("%w: the API at %s, want a loopback address such as 127.0.0.1:8443", ErrOptions, o.API)
	case !(o.Speed > 0 && o.Speed <= 1000):
		return fmt.Errorf("%w: speed %v, want above 0 and at most 1000", ErrOptions, o.Speed)
	}
	known := append(FaultNames(), ExamFaultNames()...)
	for name := range o.Faults {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%w: no fault is called %q (there are %s)", ErrOptions, name, strings.Join(known, ", "))
		}
	}
	return nil
}

// Demo is a simulated rack with the product beside it.
type Demo struct {
	rack   *sim.Rack
	daemon *daemon.Daemon
	config *config.Config
	temp   string // removed in the end
}

// Open makes the rack and everything that serves it. Nothing runs before Run.
func Open(ctx context.Context, o Options) (_ *Demo, err error) {
	d := &Demo{}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if err := o.check(); err != nil {
		return nil, err
	}
	state := o.State
	if state == "" {
		if d.temp, err = os.MkdirTemp("", "picloud-demo-"); err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
		state = d.temp
	} else if state, err = filepath.Abs(state); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if err := sameRack(state, o); err != nil {
		return nil, err
	}
	d.rack, err = sim.New(sim.Config{Seed: o.Seed, Pis: o.Pis, New: o.New, Speed: o.Speed, Faults: o.Faults, Log: o.Log})
	if errors.Is(err, sim.ErrConfig) {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if err != nil {
		return nil, err
	}
	client, err := FreePorts(ctx)
	if err != nil {
		return nil, fmt.Errorf("demo: find free ports: %w", err)
	}
	d.config = Configure(d.rack.Inventory(), state, o.Speed, client)
	if problems := d.config.Validate(daemon.Known()); len(problems) > 0 {
		return nil, fmt.Errorf("demo: its own configuration is wrong: %w", problems[0])
	}
	d.config.API.Listen = o.API // port 0 is any, which a file may not say
	d.daemon, err = daemon.Open(ctx, daemon.Options{Config: d.config, Speed: o.Speed, Volatile: d.temp != "", Stage: o.Stage, Log: o.Log})
	if err != nil {
		return nil, err
	}
	bound := d.daemon.Ports()
	return d, d.rack.SetPorts(sim.Ports{
		DHCPServer: bound.DHCP, DHCPClient: client.DHCP, TFTP: bound.TFTP, NFS: bound.NFS, SSH: client.SSH,
	})
}

// sameRack refuses a folder that was made with another rack: its boards would be
// strangers to what is stored of them.
func sameRack(state string, o Options) error {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return fmt.Errorf("demo: state folder: %w", err)
	}
	path, want := filepath.Join(state, "demo-rack"), fmt.Sprintf("--seed %d --pis %d --new %d\n", o.Seed, o.Pis, o.New)
	have, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.WriteFile(path, []byte(want), 0o600)
	case err != nil:
		return fmt.Errorf("demo: %w", err)
	case string(have) != want:
		return fmt.Errorf("%w: %s was made with %s: give that, or another folder", ErrOptions, state, strings.TrimSpace(string(have)))
	}
	return nil
}

// Engine is the product's engine.
func (d *Demo) Engine() *engine.Engine { return d.daemon.Engine() }

// APIURL is where servers can be ordered, "" = nowhere.
func (d *Demo) APIURL() string { return d.daemon.APIURL() }

// Config is the configuration that the demo made for its rack.
func (d *Demo) Config() *config.Config { return d.config }

// Run works until ctx ends, and removes what is temporary.
func (d *Demo) Run(ctx context.Context) error {
	defer d.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.rack.Run(ctx) })
	g.Go(func() error { return d.daemon.Run(ctx) })
	return g.Wait()
}

// Close releases what Open took; it is called instead of Run.
func (d *Demo) Close() {
	if d.daemon != nil {
		d.daemon.Close()
	}
	if d.rack != nil {
		d.rack.Close()
	}
	if d.temp != "" {
		_ = os.RemoveAll(d.temp) // a temporary folder: the system sweeps what stays
	}
}

// Configure writes a simulated rack's configuration as staff would. The
// server's own ports are left to the system.
func Configure(inv sim.Inventory, state string, speed float64, client ClientPorts) *config.Config {
	c := config.Default()
	c.Rack, c.State = inv.Rack, state
	hasten := func(d, least time.Duration) time.Duration { return max(least, time.Duration(float64(d)/speed)) }
	c.Boot.Limits = engine.DefaultLimits().Scale(speed, 12*time.Second)
	c.Boot.Hold = hasten(c.Boot.Hold, 100*time.Millisecond)
	c.Boot.Starting = 32
	c.DHCP = config.DHCP{
		ClientPort: int(client.DHCP), Reply: config.ReplyUnicast, Device: "lo",
		Delay3B: hasten(c.DHCP.Delay3B, 10*time.Millisecond), Nudge: hasten(c.DHCP.Nudge, 5*time.Millisecond),
	}
	c.TFTP.Port, c.NFS.Port, c.NFS.Driver = 0, 0, config.NFSDemo
	c.HTTP = config.HTTP{} // a service on this computer has its port
	c.SSH = config.SSH{Port: int(client.SSH), Every: hasten(c.SSH.Every, 500*time.Millisecond), Timeout: c.SSH.Timeout}
	c.Images = []config.Image{{Name: config.BuiltinImage, Label: "picloud's built-in demo image"}}
	c.API.PrivateWebhooks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} // a program beside the demo
	c.Orders.Disk, c.Orders.Pool, c.Orders.SSHPorts = 50, netip.MustParsePrefix("2001:db8::/64"), 5099
	c.Plans = []config.Plan{{Model: 3, Month: 625}, {Model: 4, Month: 900}, {Model: 5, Month: 1250}}
	c.Exam = config.Exam{Port: cmp.Or(int(client.Report), c.Exam.Port), Burn: hasten(c.Exam.Burn, 2*time.Second)}
	for _, s := range inv.Switches {
		sw := config.DefaultSwitch()
		sw.Name, sw.Address, sw.Ports = s.Name, s.Addr, s.Ports
		sw.Profile = s.Profile
		sw.Credentials = config.Credentials{ReadCommunity: s.ReadCommunity, WriteCommunity: s.WriteCommunity}
		sw.Poll = hasten(sw.Poll, 500*time.Millisecond)
		c.Switches = append(c.Switches, sw)
	}
	for _, p := range inv.Pis {
		if p.MAC == [6]byte{} { // nobody has typed its board in: it is examined
			c.Orders.Examine, c.Orders.ExamImage = true, config.BuiltinImage
		}
		c.Segments = append(c.Segments, config.Segment{
			Name: p.Name, Interface: "lo", Address: netip.PrefixFrom(p.Server, 30), PiAddress: p.Addr,
			Switch: p.Switch, Port: p.Port, Power: true,
			MAC: p.MAC, Serial: config.Serial(p.Serial), Model: engine.Model(p.Model), Image: config.BuiltinImage,
		})
		if p.Customer != "" {
			c.Servers = append(c.Servers, config.Server{
				Name: p.ServerName, Owner: p.Customer, Pi: engine.PiName(p.Name), Keys: p.Keys,
			})
		}
	}
	return c
}

// Defaults of the demo's size and speed.
const (
	DefaultPis   = 60
	DefaultSpeed = 4
)

// FaultNames are the faults that keep a simulated Pi from coming up.
func FaultNames() []string { return sim.FaultNames() }

// ExamFaultNames are the faults that the examination of a new one finds.
func ExamFaultNames() []string { return sim.ExamFaultNames() }
