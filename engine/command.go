package engine

import (
	"errors"
	"fmt"
)

// Command is a verb with its targets, as an actor decided it.
type Command struct {
	Verb    VerbName
	Actor   Actor
	Targets []Target
	Image   string    // reimage: "" = the image it has
	To      PiName    // move: the Pi that the server goes to, "" = a spare that the engine picks
	Size    int64     // resize: bytes
	Passed  GuardKind // the guard the actor passed
	Typed   string    // what was typed for GuardName: the Pi's name, or "VERB COUNT" for many
	Reason  string
}

// Target is a Pi and the generation the actor saw of it. A Pi whose
// generation is another by now is refused: it is not what the actor looked at.
type Target struct {
	Pi  PiName
	Gen uint64
}

// Result says what became of each target.
type Result struct {
	Accepted []Accepted
	Refused  []Refused
}

// Accepted is a target whose act began (or is already over: Job is then 0).
type Accepted struct {
	Pi  PiName
	Job int64
}

// Refused is a target that was left alone, and why.
type Refused struct {
	Pi  PiName
	Why error
}

// Kinds of refusal, for errors.Is.
var (
	ErrStale      = errors.New("it changed since you looked")
	ErrNotAllowed = errors.New("your role may not")
	ErrGuard      = errors.New("needs confirmation")
	ErrNotNow     = errors.New("not now")
	ErrNoSuchPi   = errors.New("no such Pi")
	ErrNoSuchVerb = errors.New("no such verb")
	ErrStopped    = errors.New("the engine has stopped")
)

// Err is nil when nothing was refused, or the first refusal with the number of
// further ones.
func (r Result) Err() error {
	switch len(r.Refused) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%s: %w", r.Refused[0].Pi, r.Refused[0].Why)
	default:
		return fmt.Errorf("%s: %w (and %d more refused)", r.Refused[0].Pi, r.Refused[0].Why, len(r.Refused)-1)
	}
}
