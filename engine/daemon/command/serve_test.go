package command

import (
	"testing"

	"picloud/engine"
)

func TestStatusLine(t *testing.T) {
	for _, tt := range []struct {
		snapshot engine.Snapshot
		want     string
	}{
		{engine.Snapshot{Counts: engine.Counts{Total: 60, Up: 58, Booting: 1, Stalled: 1}}, "60 Pis: 58 up, 1 booting, 1 stalled"},
		{engine.Snapshot{Counts: engine.Counts{Total: 1, Off: 1}}, "1 Pi: 1 off"},
		{engine.Snapshot{}, "0 Pis"},
		{engine.Snapshot{Counts: engine.Counts{Total: 2, Unknown: 2}, Warnings: []string{"nothing can be stored"}}, "2 Pis: 2 unknown; nothing can be stored"},
	} {
		if got := statusLine(&tt.snapshot); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
