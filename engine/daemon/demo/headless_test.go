package demo

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

// Every Pi that the summary counts has its line, the last one too.
func TestHeadlessWritesWhatItCounts(t *testing.T) {
	var out bytes.Buffer
	h := Headless{Options: Options{Seed: 3, Pis: 4, Speed: 20}, JSON: true, For: time.Minute, Out: &out}
	sum, err := h.Run(t.Context())
	if err != nil || !sum.AllUp() {
		t.Fatalf("%+v, %v\n%s", sum, err, out.String())
	}
	last := map[string]string{}
	for dec := json.NewDecoder(&out); dec.More(); {
		var l line
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if l.Pi != "" {
			last[l.Pi] = l.Stage
		}
	}
	for pi, stage := range last {
		if stage != "up" {
			t.Errorf("the last line of %s says %s", pi, stage)
		}
	}
	if len(last) != sum.Pis {
		t.Errorf("%d Pis have lines, want %d", len(last), sum.Pis)
	}
}
