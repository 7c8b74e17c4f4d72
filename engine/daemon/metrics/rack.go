package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"picloud/engine"
)

// Source is where the state of the service is read from. The functions are
// called by those who scrape, and answer from memory.
type Source struct {
	Snapshot  func() *engine.Snapshot
	Turned    func() time.Time // when the engine's loop last came round
	Published <-chan struct{}  // closed once the roots in use are exported
	// Sessions counts the open ones: consoles, and commands that run.
	Sessions func() (consoles, commands int)
	// Backup tells the newest copy of the database, zero = none; wanted is
	// false if none are made.
	Backup func() (newest time.Time, wanted bool)
	// Accounts are the customers, Rules how servers are ordered.
	Accounts func() *engine.Accounts
	Rules    func() *engine.Rules
	// NFS asks the server of the roots whether it is there; nil: it is not asked.
	NFS func() error
}

// state is what one scrape tells of.
type state struct {
	*engine.Snapshot
	src *Source
}

// emit takes one value of a family, with the family's labels in their order.
type emit func(value float64, labels ...string)

// family is the metrics of one name.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	each func(s *state, emit emit)
}

func gauge(name, help string, each func(*state, emit), labels ...string) family {
	return family{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue, each}
}

func counter(name, help string, each func(*state, emit), labels ...string) family {
	return family{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue, each}
}

// families is everything that is read at a scrape.
var families = []family{
	gauge("picloud_pis", "Pis, by what they do now.", countStages, "stage"),
	gauge("picloud_pis_by_life", "Pis, by what they may be used for.", countLives, "life"),
	gauge("picloud_pi_info", "Where a Pi is and what it is; always 1.", eachPi(func(p *engine.PiView, emit emit) {
		emit(1, string(p.Name), p.Port.Switch, strconv.Itoa(p.Port.Port), string(p.Model))
	}), "pi", "switch", "port", "model"),
	gauge("picloud_pi_stage", "What a Pi does now: 1 for that stage, and nothing for the others.", eachPi(func(p *engine.PiView, emit emit) {
		emit(1, string(p.Name), p.Stage.String())
	}), "pi", "stage"),
	gauge("picloud_pi_nfs_connected", "Whether a Pi has a connection to its root.", eachRoot(func(n *engine.NFSSeen) float64 { return truth(n.Connected) }), "pi"),
	gauge("picloud_pi_nfs_rtt_seconds", "Round-trip time of a Pi's connection to its root.", eachConnected(func(n *engine.NFSSeen) float64 { return n.RTT.Seconds() }), "pi"),
	counter("picloud_nfs_retransmits_total", "TCP segments sent again to a Pi, of its present connection to its root.", eachConnected(func(n *engine.NFSSeen) float64 { return float64(n.Retransmits) }), "pi"),
	counter("picloud_nfs_received_bytes_total", "Bytes that came from a Pi, of its present connection to its root.", eachConnected(func(n *engine.NFSSeen) float64 { return float64(n.BytesIn) }), "pi"),
	counter("picloud_nfs_sent_bytes_total", "Bytes that went to a Pi, of its present connection to its root.", eachConnected(func(n *engine.NFSSeen) float64 { return float64(n.BytesOut) }), "pi"),
	gauge("picloud_poe_watts", "Power that a Pi's port gives; nothing while its switch is silent.", eachPi(func(p *engine.PiView, emit emit) {
		if p.HasWatts && p.Stage != engine.StageUnknown {
			emit(watts(p.Milliwatts), p.Port.Switch, strconv.Itoa(p.Port.Port))
		}
	}), "switch", "port"),
	gauge("picloud_switch_up", "Whether a switch answered its last poll.", eachSwitch(func(w *engine.SwitchView) (float64, bool) { return truth(w.Err == ""), true }), "switch"),
	gauge("picloud_switch_answered_timestamp_seconds", "When a switch last answered, in Unix time.", eachSwitch(func(w *engine.SwitchView) (float64, bool) {
		return unix(w.Answered), !w.Answered.IsZero()
	}), "switch"),
	gauge("picloud_switch_uptime_seconds", "How long a switch has been running, as it said last.", eachSwitch(func(w *engine.SwitchView) (float64, bool) {
		return w.Uptime.Seconds(), !w.Answered.IsZero()
	}), "switch"),
	gauge("picloud_switch_poe_watts", "Power that a switch's ports give; nothing while it is silent.", eachSwitch(func(w *engine.SwitchView) (float64, bool) {
		return watts(w.Milliwatts), w.Err == ""
	}), "switch"),
	gauge("picloud_switch_poe_budget_watts", "Power that a switch can give, as it said last.", eachSwitch(func(w *engine.SwitchView) (float64, bool) {
		return float64(w.BudgetWatts), w.BudgetWatts > 0
	}), "switch"),
	gauge("picloud_servers", "Customers' servers, by how far they are; those of the configuration are configured.", countServers, "state"),
	gauge("picloud_servers_month_gbp", "What the servers that are live cost their customers a month, in pounds.", one(sumRent)),
	gauge("picloud_pis_for_order", "Pis that orders can have, without the spares, of each kind of board that is sold.", countFree, "model", "memory_mb"),
	gauge("picloud_accounts", "Customers' accounts, by whether they are open.", countAccounts, "state"),
	gauge("picloud_jobs", "Jobs that have not ended, by verb and state.", countJobs, "verb", "state"),
	gauge("picloud_pool_size_bytes", "Room that all roots share.", pool(func(p *engine.PoolReading) float64 { return float64(p.Size) })),
	gauge("picloud_pool_used_bytes", "Room of the pool that is taken.", pool(func(p *engine.PoolReading) float64 { return float64(p.Used) })),
	gauge("picloud_pool_metadata_ratio", "Part of the pool's room for metadata that is taken, 0 to 1; 0 where it has none of its own.", pool(func(p *engine.PoolReading) float64 { return p.Metadata })),
	gauge("picloud_pool_nearly_full", "Whether the pool is so full that no new root is made.", pool(func(p *engine.PoolReading) float64 { return truth(p.NearlyFull) })),
	counter("picloud_observations_dropped_total", "Observations that were lost in a flood.", one(func(s *state) (float64, bool) { return float64(s.Dropped), true })),
	gauge("picloud_snapshot_timestamp_seconds", "When the engine last told what it knows, in Unix time.", one(func(s *state) (float64, bool) { return unix(s.At), true })),
	gauge("picloud_engine_turn_timestamp_seconds", "When the engine's loop last came round, in Unix time.", one(func(s *state) (float64, bool) {
		at := s.src.Turned()
		return unix(at), !at.IsZero()
	})),
	gauge("picloud_ready", "Whether the roots in use are exported.", one(func(s *state) (float64, bool) { return truth(s.src.published()), true })),
	gauge("picloud_backup_timestamp_seconds", "When the newest copy of the database was made, in Unix time; 0 = there is none. Nothing where none are made.", one(func(s *state) (float64, bool) {
		newest, wanted := s.src.Backup()
		return unix(newest), wanted
	})),
	gauge("picloud_sessions", "Consoles and commands of people and scripts that are open.", func(s *state, emit emit) {
		consoles, commands := s.src.Sessions()
		emit(float64(consoles), "console")
		emit(float64(commands), "command")
	}, "kind"),
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func watts(milliwatts int) float64 { return float64(milliwatts) / 1000 }

// unix is a time in seconds, 0 for none.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func (s *Source) published() bool {
	select {
	case <-s.Published:
		return true
	default:
		return false
	}
}

func one(value func(*state) (float64, bool)) func(*state, emit) {
	return func(s *state, emit emit) {
		if v, ok := value(s); ok {
			emit(v)
		}
	}
}

func eachPi(f func(*engine.PiView, emit)) func(*state, emit) {
	return func(s *state, emit emit) {
		for i := range s.Pis {
			f(&s.Pis[i], emit)
		}
	}
}

// eachRoot tells of Pis whose root connection was ever looked at.
func eachRoot(f func(*engine.NFSSeen) float64) func(*state, emit) {
	return eachPi(func(p *engine.PiView, emit emit) {
		if !p.NFSAt.IsZero() {
			emit(f(&p.NFS), string(p.Name))
		}
	})
}

func eachConnected(f func(*engine.NFSSeen) float64) func(*state, emit) {
	return eachPi(func(p *engine.PiView, emit emit) {
		if p.NFS.Connected {
			emit(f(&p.NFS), string(p.Name))
		}
	})
}

func eachSwitch(f func(*engine.SwitchView) (float64, bool)) func(*state, emit) {
	return func(s *state, emit emit) {
		for i := range s.Switches {
			if v, ok := f(&s.Switches[i]); ok {
				emit(v, s.Switches[i].Name)
			}
		}
	}
}

// pool tells of the pool once it was looked at.
func pool(f func(*engine.PoolReading) float64) func(*state, emit) {
	return one(func(s *state) (float64, bool) { return f(&s.Space.Pool), !s.SpaceAt.IsZero() })
}

func countStages(s *state, emit emit) {
	var n [engine.StageUnknown + 1]int
	for i := range s.Pis {
		n[s.Pis[i].Stage]++
	}
	for stage := range n {
		emit(float64(n[stage]), engine.Stage(stage).String())
	}
}

// lives are told also where there is no Pi of them.
var lives = []engine.Life{
	engine.LifeNew, engine.LifeReady, engine.LifeAllocated, engine.LifeDeploying,
	engine.LifeLive, engine.LifeReleasing, engine.LifeBroken,
}

func countLives(s *state, emit emit) {
	n := make(map[engine.Life]int, len(lives))
	for i := range s.Pis {
		n[s.Pis[i].Life]++
	}
	for _, life := range lives {
		emit(float64(n[life]), string(life))
	}
}

func countJobs(s *state, emit emit) {
	type key struct {
		verb  string
		state engine.JobState
	}
	n := make(map[key]int)
	for i := range s.Jobs {
		if j := &s.Jobs[i]; !j.State.Ended() {
			n[key{j.Verb, j.State}]++
		}
	}
	for k, count := range n {
		emit(float64(count), k.verb, string(k.state))
	}
}

// rack collects the families of one snapshot.
type rack struct{ src Source }

// Describe is prometheus.Collector's.
func (r rack) Describe(to chan<- *prometheus.Desc) {
	for i := range families {
		to <- families[i].desc
	}
}

// Collect is prometheus.Collector's.
func (r rack) Collect(to chan<- prometheus.Metric) {
	s := &state{r.src.Snapshot(), &r.src}
	for i := range families {
		f := &families[i]
		f.each(s, func(value float64, labels ...string) {
			m, err := prometheus.NewConstMetric(f.desc, f.kind, value, labels...)
			if err != nil {
				m = prometheus.NewInvalidMetric(f.desc, err)
			}
			to <- m
		})
	}
}
