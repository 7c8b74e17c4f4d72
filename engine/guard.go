package engine

import (
	"fmt"
	"strings"
	"time"
)

// GuardKind is what stands between a key and what it does.
type GuardKind uint8

// Guards, weakest first: act at once; count down and let any key stop it; ask
// for "y"; ask for the Pi's name.
const (
	GuardNone GuardKind = iota
	GuardCountdown
	GuardYes
	GuardName
)

var guardNames = [...]string{"none", "countdown", "yes", "name"}

// String names the guard as the configuration does.
func (g GuardKind) String() string {
	if int(g) >= len(guardNames) {
		return "invalid"
	}
	return guardNames[g]
}

// ParseGuard reads a guard's name.
func ParseGuard(s string) (GuardKind, error) {
	for i, n := range guardNames {
		if strings.EqualFold(n, s) {
			return GuardKind(i), nil
		}
	}
	return 0, fmt.Errorf("guard %q: want one of %s", s, strings.Join(guardNames[:], ", "))
}

// Guard is a guard with the length of its count-down.
type Guard struct {
	Kind  GuardKind
	Delay time.Duration // of a count-down
}

// Guards are a verb's guards: for a Pi that nobody has, and for one that a
// customer has.
type Guards struct{ Free, Rented Guard }

// For picks the guard that applies to a Pi.
func (g Guards) For(p *PiView) Guard {
	if p.Server != "" {
		return g.Rented
	}
	return g.Free
}
