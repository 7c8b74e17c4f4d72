package engine

import "time"

// Boot is one start of a Pi, from power (or its own reset) to up, with all the
// evidence in order.
type Boot struct {
	ID      int64
	Pi      PiName
	Started time.Time
	Reached Stage // furthest stage
	Up      time.Time
	Cause   string // why it stalled, "" = it did not
	Events  []BootEvent
}

// BootEvent is one line of a boot's timeline.
type BootEvent struct {
	Time     time.Time
	Stage    Stage
	Evidence string
}

// MaxBootEvents bounds a boot's timeline: a Pi that resets itself or asks for
// files without end must not make the server grow.
const MaxBootEvents = 400

// Diagnosis is the answer to "why is it stuck?".
type Diagnosis struct {
	At    Stage  // the stage it stalled in
	Fault string // short stable name, such as "stp-blocked"
	Cause string // one sentence
	Hint  string // what to do
}
