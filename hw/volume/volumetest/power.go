package volumetest

import (
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"picloud/hw/volume"
)

// PowerCutter makes disks whose power is cut for [RunPowerCuts].
type PowerCutter struct {
	// Record returns a driver on a disk that records what is written to it, and
	// when it is flushed. mark puts a word into that record.
	Record func(t *testing.T) (d volume.Driver, mark func(word string))
	// Cuts ends the recording, and returns for each word a number of disks: as
	// they are if the power goes before that word, and since the last one.
	Cuts      func(t *testing.T) map[string][]Cut
	ImageSize int64
	Only      []string // names of operations; nil means all
}

// Cut is a disk after the power has gone.
type Cut struct {
	Name string
	// Open opens the driver on it, as after a restart. What it makes is gone with
	// the test.
	Open func(t *testing.T) volume.Driver
}

// Words of the record: what comes before one is written while the operation
// runs, and after one when it has said that it is done.
const (
	doingMark = "doing "
	doneMark  = "done "
	laterMark = "later "
)

// RunPowerCuts does each operation on a disk that keeps a record, and looks at
// what is left of it when the power goes meanwhile, and right after the
// operation has returned: a disk then loses what it was not told to keep. It
// checks that Recover finds the former state or the new one, whole, and once the
// operation has returned, the new one.
func RunPowerCuts(t *testing.T, c PowerCutter) {
	ctx := t.Context()
	d, mark := c.Record(t)
	check(t, d.Recover(ctx))
	check(t, importDemo(ctx, d, c.ImageSize))
	check(t, makeVolume(ctx, d, c.ImageSize))
	var done []operation
	for _, op := range operations {
		if len(c.Only) > 0 && !slices.Contains(c.Only, op.name) {
			continue
		}
		unix.Sync() // what its Pi has not asked to be kept may be lost, and is not looked at
		mark(doingMark + op.name)
		check(t, op.do(ctx, d, c.ImageSize))
		mark(doneMark + op.name)
		if op.undo != nil {
			check(t, op.undo(ctx, d, c.ImageSize))
		}
		done = append(done, op)
	}
	unix.Sync()
	mark(laterMark)
	cuts := c.Cuts(t)
	for _, op := range done {
		t.Run(op.name, func(t *testing.T) {
			c.check(t, cuts[doneMark+op.name], op)
		})
	}
}

// check looks at the disks of an operation. The last is that of the moment when
// the operation has returned.
func (c PowerCutter) check(t *testing.T, cuts []Cut, op operation) {
	t.Helper()
	if len(cuts) == 0 {
		t.Fatal("nothing was written")
	}
	for i, cut := range cuts {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			d := cut.Open(t)
			check(t, d.Recover(t.Context()))
			got, last := look(t, d), i == len(cuts)-1
			t.Logf("%s: %s", cut.Name, got)
			if got != op.after && (last || got != before) {
				t.Errorf("%s: %s, want %s or, before it has returned, %s", cut.Name, got, op.after, before)
			}
		})
	}
}
