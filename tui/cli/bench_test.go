package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"picloud/engine"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with testdata/NAME.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// inventory keeps what the engine saves, in memory, and pages it.
type inventory struct {
	mu    sync.Mutex
	boots map[int64]engine.Boot
	lines []engine.BootLine
	audit map[int64]engine.AuditRow
	log   []engine.LogLine // oldest first

	notices  []engine.Notice
	sent     []engine.Delivery
	webhooks map[string]engine.Webhook
	ledger   []engine.LedgerRow
}

func newInventory() *inventory {
	return &inventory{boots: map[int64]engine.Boot{}, audit: map[int64]engine.AuditRow{}, webhooks: map[string]engine.Webhook{}}
}

// Load gives the roots that the layout's Pis have.
func (m *inventory) Load(context.Context) (engine.State, error) {
	var st engine.State
	for i := range benchPorts + 1 {
		st.Volumes = append(st.Volumes, engine.Volume{
			Name: fmt.Sprintf("root-%d", i+1), Pi: engine.PiName(fmt.Sprintf("a3-%03d", i+1)), Image: "bookworm64", State: engine.VolumeCurrent,
			HostKeys: []engine.HostKey{{Type: "ssh-ed25519", Fingerprint: fmt.Sprintf("SHA256:root-%d", i+1)}},
		})
	}
	return st, nil
}

func (m *inventory) Save(_ context.Context, c engine.Changes) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range c.Boots {
		m.boots[b.ID] = b
	}
	m.lines = append(m.lines, c.Events...)
	for _, r := range c.Audit {
		m.audit[r.ID] = r
	}
	m.log = append(m.log, c.Log...)
	m.notices = append(m.notices, c.Notices...)
	m.sent = append(m.sent, c.Deliveries...)
	m.ledger = append(m.ledger, c.Ledger...)
	for _, h := range c.Webhooks {
		m.webhooks[h.ID] = h
	}
	return nil
}

func (m *inventory) Boots(_ context.Context, pi engine.PiName, limit int) ([]engine.Boot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []engine.Boot
	for _, b := range m.boots {
		if b.Pi == pi {
			for _, l := range m.lines {
				if l.Boot == b.ID {
					b.Events = append(b.Events, l.BootEvent)
				}
			}
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b engine.Boot) int { return int(b.ID - a.ID) })
	return out[:min(len(out), limit)], nil
}

func (m *inventory) Log(_ context.Context, before int64, limit int) ([]engine.LogLine, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []engine.LogLine
	for _, l := range slices.Backward(m.log) {
		if (before == 0 || l.ID < before) && len(out) < limit {
			out = append(out, l)
		}
	}
	return out, nil
}

func (m *inventory) Audit(_ context.Context, before int64, limit int) ([]engine.AuditRow, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []engine.AuditRow
	for _, r := range m.audit {
		if before == 0 || r.ID < before {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b engine.AuditRow) int { return int(b.ID - a.ID) })
	return out[:min(len(out), limit)], nil
}

func (m *inventory) Jobs(context.Context, int64, int) ([]engine.Job, error) { return nil, nil }

func (m *inventory) Job(context.Context, int64) (engine.Job, error) {
	return engine.Job{}, engine.ErrNotFound
}

func (m *inventory) Notices(context.Context, string, int64, int) ([]engine.Notice, error) {
	return nil, nil
}

func (m *inventory) Ledger(_ context.Context, account string, before time.Time) ([]engine.LedgerRow, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []engine.LedgerRow
	for _, r := range m.ledger {
		if r.Time.Before(before) && (account == "" || r.Account == account) {
			out = append(out, r)
		}
	}
	return out, nil
}

func (m *inventory) Deliveries(_ context.Context, account, webhook string, before int64, limit int) ([]engine.Sending, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []engine.Sending
	h := m.webhooks[webhook]
	for _, d := range slices.Backward(m.sent) {
		if d.Webhook != webhook || h.Account != account || before != 0 && d.Notice >= before || len(out) == limit {
			continue
		}
		i := slices.IndexFunc(m.notices, func(n engine.Notice) bool { return n.ID == d.Notice })
		out = append(out, engine.Sending{Delivery: d, Notice: m.notices[i], Webhook: h})
	}
	return out, nil
}

func (m *inventory) auditRows() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.audit)
}

// bench is a real engine on hardware that behaves: a Pi boots when its port is
// powered, unless it is told to stop at a stage. It runs inside a synctest
// bubble, so that its times are the same each time.
type bench struct {
	t      *testing.T
	e      *engine.Engine
	inv    *inventory
	mu     sync.Mutex
	on     map[int]bool
	up     map[int]bool
	stopAt map[int]engine.Stage // by port
	live   context.Context      // of the rack
	done   chan struct{}
}

// ports of the bench's first switch; the second has one Pi and is silent.
const benchPorts = 8

func benchSegment(i int) engine.Segment {
	base := netip.AddrFrom4([4]byte{127, 64, 0, byte(4 * i)})
	port := engine.PortID{Switch: "sw1", Port: i + 1}
	if i >= benchPorts {
		port = engine.PortID{Switch: "sw2", Port: i - benchPorts + 1}
	}
	return engine.Segment{
		Name: fmt.Sprintf("v%03d", i+1), Interface: "lo", Server: base.Next(),
		Addr: netip.PrefixFrom(base.Next().Next(), 30), Port: port,
	}
}

// hostile is what a customer might call a server.
const hostile = "web\x1b]0;pwned\x07\u202e\n1"

func benchLayout() engine.Layout {
	l := engine.Layout{
		Rack: "A3", Switches: []engine.Switch{{Name: "sw1", Ports: benchPorts}, {Name: "sw2", Ports: 4}},
		Images: []engine.Image{{Name: "bookworm64", Label: "Debian 12"}, {Name: "trixie64", Label: "Debian 13"}},
		Servers: []engine.Server{
			{Name: "web-1", Owner: "t-114"}, {Name: "db-1", Owner: "t-009"}, {Name: hostile, Owner: "t-666"},
		},
		Rules: engine.Rules{
			Plans: []engine.Plan{{Spec: engine.Spec{Model: 4}, Month: 750}}, Disk: 50, Image: "bookworm64", Exam: "bookworm64",
			Pool: netip.MustParsePrefix("2001:db8::/64"), Bits: 64, Gateway: netip.MustParseAddr("fe80::1"), Ports: 5100,
		},
	}
	for i := range benchPorts + 1 {
		p := engine.Pi{
			Name: engine.PiName(fmt.Sprintf("a3-%03d", i+1)), Segment: benchSegment(i), Model: engine.Model4B, Serial: 0x10000000 + uint32(i),
			MAC: engine.MAC{0xdc, 0xa6, 0x32, 0, 0, byte(i + 1)}, Life: engine.LifeReady, Image: "bookworm64", Volume: fmt.Sprintf("root-%d", i+1), Power: i != 3,
		}
		switch i {
		case 0:
			p.Server, p.Life = "web-1", engine.LifeLive
		case 1:
			p.Server, p.Life = "db-1", engine.LifeLive
		case 6:
			p.Server, p.Life = hostile, engine.LifeLive
		case 7:
			p.Life, p.Note, p.Power = engine.LifeBroken, "fan is dead", false
		}
		l.Pis = append(l.Pis, p)
	}
	return l
}

// rackTest runs f on a rack a minute after its start: a3-003 is stalled, a3-004
// off, a3-008 broken, a3-009 behind a silent switch, the others up.
func rackTest(t *testing.T, f func(b *bench)) {
	t.Helper()
	guardedRackTest(t, nil, f)
}

// guardedRackTest is rackTest with other guards than the table's.
func guardedRackTest(t *testing.T, guards map[engine.VerbName]engine.Guards, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{
			t: t, inv: newInventory(),
			on: map[int]bool{}, up: map[int]bool{}, stopAt: map[int]engine.Stage{3: engine.StageDHCP}, done: make(chan struct{}),
		}
		limits := engine.DefaultLimits()
		limits[engine.StageDHCP] = 20 * time.Second
		e, err := engine.New(t.Context(), engine.Config{
			Layout: benchLayout(), Inventory: b.inv, Power: b, Roots: b, Hold: 2 * time.Second, Guards: guards, Limits: limits,
		})
		if err != nil {
			t.Fatal(err)
		}
		b.e = e
		ctx, cancel := context.WithCancel(t.Context())
		b.live = ctx
		go func() {
			defer close(b.done)
			if err := e.Run(ctx); err != nil {
				t.Errorf("the engine: %v", err)
			}
		}()
		go b.poll(ctx)
		time.Sleep(time.Minute)
		b.e.Observe(silence()) // is published at once: the snapshot is of now, whatever the last poll's left for later
		synctest.Wait()
		f(b)
		cancel()
		<-b.done
		synctest.Wait()
	})
}

// pollPhase keeps the polls away from the instants at which the tests look and
// act: of what happens at one instant of a fake clock, any may come first.
const pollPhase = 700 * time.Millisecond

func (b *bench) poll(ctx context.Context) {
	b.e.Observe(engine.Observation{Time: time.Now(), Space: &engine.SpaceSeen{
		Driver: "lvm", Quota: true, Pool: engine.PoolReading{Size: 400e9, Used: 61_200_000_000, Metadata: 0.031},
		Volumes: map[string]engine.VolumeUse{"root-1": {Size: 10e9, Used: 2_150_000_000}, "root-7": {Size: 10e9, Used: 9_900_000_000}},
	}})
	pause(ctx, pollPhase)
	for ctx.Err() == nil {
		b.e.Observe(engine.Observation{Time: time.Now(), Switch: b.reading()})
		b.e.Observe(silence())
		b.mu.Lock()
		var up []int
		for port := range b.up {
			up = append(up, port)
		}
		b.mu.Unlock()
		slices.Sort(up)
		for _, port := range up {
			client := benchSegment(port - 1).Addr.Addr()
			b.e.Observe(engine.Observation{Time: time.Now(), NFS: &engine.NFSSeen{Client: client, Connected: true, Since: time.Unix(900, 0), BytesIn: 1000, BytesOut: 2_000_000}})
			b.e.Observe(engine.Observation{Time: time.Now(), SSH: &engine.SSHSeen{Client: client, Banner: "SSH-2.0-test"}})
		}
		pause(ctx, time.Second)
	}
}

// silence is the second switch's.
func silence() engine.Observation {
	return engine.Observation{Time: time.Now(), Switch: &engine.SwitchReading{Switch: "sw2", Err: "no answer within 2s"}}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (b *bench) reading() *engine.SwitchReading {
	r := &engine.SwitchReading{Switch: "sw1", BudgetWatts: 370, Uptime: 90 * time.Hour, Description: "Bench 8 PoE"}
	for port := 1; port <= benchPorts; port++ {
		r.Ports = append(r.Ports, b.port(port))
	}
	return r
}

func (b *bench) port(port int) engine.PortReading {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := engine.PortReading{Port: port, Detection: "disabled", LinkKnown: true, HasWatts: true}
	if b.on[port] {
		r.Enabled, r.Delivering, r.Detection, r.Milliwatts, r.LinkUp = true, true, "deliveringPower", 2100+100*port, true
	}
	return r
}

func (b *bench) SetPower(ctx context.Context, id engine.PortID, on bool) (engine.PortReading, error) {
	pause(ctx, 100*time.Millisecond+time.Duration(id.Port)*10*time.Millisecond) // each at its own time
	if id.Switch != "sw1" {
		return engine.PortReading{}, fmt.Errorf("no answer within 2s")
	}
	b.mu.Lock()
	b.on[id.Port] = on
	delete(b.up, id.Port)
	b.mu.Unlock()
	if on {
		go b.boot(b.live, id.Port)
	}
	return b.port(id.Port), nil
}

func (b *bench) boot(ctx context.Context, port int) {
	seg := benchSegment(port - 1)
	mac := engine.MAC{0xdc, 0xa6, 0x32, 0, 0, byte(port)}
	client := seg.Addr.Addr()
	for _, step := range []struct {
		stage engine.Stage
		o     engine.Observation
	}{
		{engine.StageDHCP, engine.Observation{DHCP: &engine.DHCPSeen{Segment: seg.Name, Kind: "discover", MAC: mac, Model: engine.Model4B, ROM: true}}},
		{engine.StageDHCP, engine.Observation{DHCP: &engine.DHCPSeen{Segment: seg.Name, Kind: "offer", MAC: mac}}},
		{engine.StageFirmware, engine.Observation{TFTP: &engine.TFTPSeen{Client: client, Kind: "requested", Name: "start4.elf"}}},
		{engine.StageFirmware, engine.Observation{TFTP: &engine.TFTPSeen{Client: client, Kind: "served", Name: "start4.elf", Bytes: 10}}},
		{engine.StageKernel, engine.Observation{TFTP: &engine.TFTPSeen{Client: client, Kind: "served", Name: "kernel8.img", Bytes: 10, Kernel: true}}},
		{engine.StageRoot, engine.Observation{NFS: &engine.NFSSeen{Client: client, Connected: true, Since: time.Unix(900, 0), BytesIn: 100}}},
		{engine.StageUp, engine.Observation{SSH: &engine.SSHSeen{Client: client, Banner: "SSH-2.0-test"}}},
	} {
		pause(ctx, 500*time.Millisecond)
		if ctx.Err() != nil {
			return
		}
		b.mu.Lock()
		stop, limited := b.stopAt[port]
		on := b.on[port]
		b.mu.Unlock()
		if !on || limited && step.stage > stop {
			return
		}
		step.o.Time = time.Now()
		b.e.Observe(step.o)
		if step.stage == engine.StageUp {
			b.mu.Lock()
			b.up[port] = true
			b.mu.Unlock()
		}
	}
}

func (b *bench) Clone(ctx context.Context, _, _ string, _ int64, progress func(done, total int64)) error {
	for i := range int64(4) {
		progress(i, 4)
		pause(ctx, 50*time.Millisecond)
	}
	return nil
}

func (b *bench) Personalise(_ context.Context, volume string, _ engine.Person) ([]engine.HostKey, error) {
	return []engine.HostKey{{Type: "ssh-ed25519", Fingerprint: "SHA256:" + volume}}, nil
}

func (b *bench) Publish(_ context.Context, _ engine.Pi, volume string) (string, error) {
	return "127.64.0.1:/" + volume, nil
}
func (b *bench) Withdraw(context.Context, engine.Pi) error    { return nil }
func (b *bench) Remove(context.Context, string) error         { return nil }
func (b *bench) Grow(context.Context, string, int64) error    { return nil }
func (b *bench) Keys(context.Context, string, []string) error { return nil }

func (b *bench) Examine(context.Context, engine.Pi, string) error { return nil }

func (b *bench) Rescue(context.Context, engine.Pi, string, engine.Person) ([]engine.HostKey, error) {
	return []engine.HostKey{{Type: "ssh-ed25519", Fingerprint: "SHA256:rescue"}}, nil
}

func (b *bench) pi(name engine.PiName) *engine.PiView {
	b.t.Helper()
	p, ok := b.e.Snapshot().Pi(name)
	if !ok {
		b.t.Fatalf("no Pi %s", name)
	}
	return p
}

// ran is what became of a command.
type ran struct {
	code     int
	out, err string
}

// session is an operator's, without a terminal.
func session(line ...string) Session {
	return Session{Actor: engine.Actor{Name: "alice", Role: engine.RoleOperator, Source: "ssh", Key: "SHA256:alice"}, Args: line, Zone: time.UTC, Version: "1.2.3"}
}

// with runs a session.
func (b *bench) with(s Session) ran {
	b.t.Helper()
	var out, errs bytes.Buffer
	s.Stdout, s.Stderr = &out, &errs
	code := Run(b.t.Context(), b.e, s)
	return ran{code, out.String(), errs.String()}
}

// run runs a line, split at blanks; "~" stands for a blank within a word.
func (b *bench) run(line string) ran {
	b.t.Helper()
	return b.with(session(split(line)...))
}

func split(line string) []string {
	f := strings.Fields(line)
	for i := range f {
		f[i] = strings.ReplaceAll(f[i], "~", " ")
	}
	return f
}

// must runs a line that succeeds.
func (b *bench) must(line string) string {
	b.t.Helper()
	r := b.run(line)
	if r.code != 0 {
		b.t.Fatalf("%s: exit %d\n%s%s", line, r.code, r.out, r.err)
	}
	return r.out
}
