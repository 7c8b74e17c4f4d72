package store

import (
	"fmt"
	"testing"

	"picloud/engine"
)

// BenchmarkSaveAct is an act that waits for the disk: a Pi and an event.
func BenchmarkSaveAct(b *testing.B) {
	s := openNew(b, Options{})
	c := everything()
	save(b, s, c)
	for i := range b.N {
		save(b, s, engine.Changes{Pis: c.Pis[:1], Events: []engine.BootLine{{
			Boot: 1, Seq: 2 + i, BootEvent: engine.BootEvent{Time: at(i), Stage: engine.StageDHCP, Evidence: "DISCOVER 1"},
		}}})
	}
}

// BenchmarkSaveObservation is one event alone, which does not.
func BenchmarkSaveObservation(b *testing.B) {
	s := openNew(b, Options{})
	save(b, s, everything())
	for i := range b.N {
		save(b, s, engine.Changes{Events: []engine.BootLine{{
			Boot: 1, Seq: 2 + i, BootEvent: engine.BootEvent{Time: at(i), Stage: engine.StageDHCP, Evidence: "DISCOVER 1"},
		}}})
	}
}

// BenchmarkSaveStorm is a turn of the loop while 500 Pis boot.
func BenchmarkSaveStorm(b *testing.B) {
	s := openNew(b, Options{})
	var first engine.Changes
	for id := range int64(500) {
		first.Boots = append(first.Boots, engine.Boot{ID: id + 1, Pi: engine.PiName(fmt.Sprint(id)), Started: at(0)})
	}
	save(b, s, first)
	events := make([]engine.BootLine, 500)
	for i := range b.N {
		for id := range events {
			events[id] = engine.BootLine{Boot: int64(id + 1), Seq: i, BootEvent: engine.BootEvent{
				Time: at(i), Stage: engine.StageFirmware, Evidence: "fetches bcm2711-rpi-4-b.dtb, 55 KB",
			}}
		}
		save(b, s, engine.Changes{Events: events})
	}
}

// rack is a store of n Pis, each with a server, a volume and a job.
func rack(b *testing.B, n int) *Store {
	s := openNew(b, Options{})
	all := everything()
	c := engine.Changes{Switches: all.Switches}
	for i := range n {
		pi, server, volume, job := all.Pis[0], all.Servers[0], all.Volumes[1], all.Jobs[0]
		pi.Name, pi.Server = engine.PiName(fmt.Sprint("pi", i)), fmt.Sprint("server", i)
		server.Name, volume.Name, job.ID = pi.Server, fmt.Sprint("volume", i), int64(i+1)
		c.Pis, c.Servers = append(c.Pis, pi), append(c.Servers, server)
		c.Volumes, c.Jobs = append(c.Volumes, volume), append(c.Jobs, job)
	}
	save(b, s, c)
	return s
}

func BenchmarkLoad1000(b *testing.B) {
	s := rack(b, 1000)
	for b.Loop() {
		if st := loaded(b, s); len(st.Pis) != 1000 {
			b.Fatal(len(st.Pis))
		}
	}
}

func BenchmarkPageOfLog(b *testing.B) {
	s := openNew(b, Options{})
	var c engine.Changes
	for id := range int64(50_000) {
		c.Log = append(c.Log, engine.LogLine{ID: id + 1, Time: at(0), Text: "a3-001 is up after 38 s"})
	}
	save(b, s, c)
	for b.Loop() {
		if page := must(s.Log(b.Context(), 25_000, 50)); len(page) != 50 {
			b.Fatal(len(page))
		}
	}
}

// BenchmarkSaveOrder is an order as the engine saves it: all that it is, at once.
func BenchmarkSaveOrder(b *testing.B) {
	s := openNew(b, Options{})
	save(b, s, engine.Changes{
		Accounts: []engine.Account{{Name: "acme"}}, Webhooks: []engine.Webhook{{ID: "w", Account: "acme"}},
	})
	for i := range b.N {
		save(b, s, order(int64(i+1)))
	}
}

// order is the n-th, on a Pi of its own.
func order(n int64) engine.Changes {
	all := everything()
	server, pi, job, volume := all.Servers[2], all.Pis[0], all.Jobs[0], all.Volumes[1]
	server.Name, server.State, server.Task, server.Number = fmt.Sprint("s", n), engine.ServerProvisioning, n, int(n)
	server.SSHPort, server.Address = 0, numbered("", int(n)).Address
	pi.Name, pi.Server, pi.Segment.Port = engine.PiName(fmt.Sprint("p", n)), server.Name, engine.PortID{}
	volume.Name, job.ID, job.Steps = fmt.Sprint("p", n, "-", n), n, make([]engine.Step, 9)
	for i := range job.Steps {
		job.Steps[i] = engine.Step{Name: fmt.Sprint(i), State: engine.StepWaiting}
	}
	return engine.Changes{
		Servers: []engine.Server{server}, Pis: []engine.Pi{pi}, Jobs: []engine.Job{job}, Volumes: []engine.Volume{volume},
		Audit:      []engine.AuditRow{{ID: n, Time: at(0), Actor: "acme", Verb: "provision", Job: n}},
		Onces:      []engine.OnceRow{{Account: "acme", Once: engine.Once{Key: fmt.Sprint(n), Digest: "4e5f"}, Job: n, Time: at(0)}},
		Ledger:     []engine.LedgerRow{{ID: n, Time: second(int(n)), Kind: engine.LedgerStart, Account: "acme", Server: server.Name, Task: n}},
		Notices:    []engine.Notice{{ID: n, Time: at(0), Account: "acme", Kind: engine.NoticeOrdered, Task: n}},
		Deliveries: []engine.Delivery{{Notice: n, Webhook: "w", Next: at(0)}},
	}
}

// BenchmarkLoadAfterYears is a start where a hundred thousand servers have ended.
func BenchmarkLoadAfterYears(b *testing.B) {
	s := openNew(b, Options{})
	var c engine.Changes
	for i := range 100_000 {
		c.Servers = append(c.Servers, engine.Server{Name: fmt.Sprint("s", i), State: engine.ServerReleased, Note: "gone"})
	}
	save(b, s, c)
	for b.Loop() {
		if st := loaded(b, s); len(st.Servers) != 0 {
			b.Fatal(len(st.Servers))
		}
	}
}
