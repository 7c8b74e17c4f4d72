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
