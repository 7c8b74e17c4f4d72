package engine

import "time"

// JobState is how far a job has come.
type JobState string

// A job waits for a slot, runs, and ends done, failed or cancelled.
const (
	JobQueued    JobState = "queued"
	JobRunning   JobState = "running"
	JobDone      JobState = "done"
	JobFailed    JobState = "failed"
	JobCancelled JobState = "cancelled"
)

// Ended tells whether the job will change no more.
func (s JobState) Ended() bool { return s == JobDone || s == JobFailed || s == JobCancelled }

// Job carries out one verb on one Pi as a list of steps. It is stored before
// and after every step, so that a new process goes on where the last one died.
type Job struct {
	ID      int64
	Batch   int64 // jobs of one command share it
	Audit   int64 // the audit row opened for this act
	Verb    string
	Pi      PiName
	Actor   string
	Image   string // reimage: what the new root is made from
	Volume  string // the root this job brings to the Pi
	To      PiName // move: where the server goes to
	Size    int64  // resize: bytes
	Server  string // that it is for, "" = none
	State   JobState
	Step    int // index into Steps of the one running or to run next
	Steps   []Step
	Error   string
	Created time.Time
	Started time.Time
	Ended   time.Time
}

// StepState is how far a step has come.
type StepState string

// A step waits, runs, and is done or failed. One found running at start-up is
// run again: every step can be.
const (
	StepWaiting StepState = "waiting"
	StepRunning StepState = "running"
	StepDone    StepState = "done"
	StepFailed  StepState = "failed"
)

// Step is one idempotent part of a job.
type Step struct {
	Name    string
	State   StepState
	Detail  string
	Started time.Time
	Ended   time.Time
}
