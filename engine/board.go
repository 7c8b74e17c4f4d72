package engine

import (
	"fmt"
	"time"
)

// homeOf is the place that a board is known to be at, nil if it is p's own or
// nobody's: a board heard elsewhere was moved, or one of the two is an impostor.
func (r *rack) homeOf(mac MAC, p *piState) *piState {
	if mac == (MAC{}) || p != nil && mac == p.MAC {
		return nil
	}
	var found *piState
	for _, home := range r.pis {
		if home.MAC == mac && home != p && (found == nil || home.Name < found.Name) {
			found = home
		}
	}
	return found
}

// swappedFor is how long a board counts that was heard in another's stead.
const swappedFor = 10 * time.Minute

// checkAdopt says why the board heard at a place cannot be taken as its own.
// Whoever has a Pi can send any address: a board that another place still powers
// was not moved here, unless another one is heard in its stead there.
func (r *rack) checkAdopt(p *piState) error {
	home := r.homeOf(p.other.MAC, p)
	switch {
	case home == nil:
		return nil
	case home.job != nil:
		return fmt.Errorf("%w: it is the board of %s, whose job %d (%s) is not over", ErrNotNow, home.Name, home.job.ID, home.job.Verb)
	case home.sw.silent() || !home.portSeen:
		return fmt.Errorf("%w: it is the board of %s, and whether that is gone from there cannot be told: switch %s does not answer",
			ErrNotNow, home.Name, home.Segment.Port.Switch)
	case home.port.Delivering && (home.other == nil || time.Since(home.otherAt) > swappedFor):
		return fmt.Errorf("%w: it is the board of %s, and %s still powers one; if it was moved, pull that plug or switch it off",
			ErrNotNow, home.Name, home.Segment.Port)
	}
	return nil
}

// takeBoard leaves a place without the board that was moved from it.
func (r *rack) takeBoard(home *piState, to PiName, actor string) {
	what := home.MAC.String()
	home.MAC, home.Serial, home.Model, home.Memory = MAC{}, 0, ModelUnknown, 0
	if home.Life == LifeReady && !home.Rented() {
		home.Life = LifeNew
	}
	r.savePi(home)
	r.logf(actor, home.Name, 0, "its board %s was moved to %s; it has none now", what, to)
}

// undoMove remembers the place that adopt would take p's board from.
func (r *rack) undoMove(p *piState) func() {
	if p.other == nil {
		return func() {}
	}
	home := r.homeOf(p.other.MAC, p)
	if home == nil {
		return func() {}
	}
	before := home.Pi
	return func() {
		if home.Pi != before {
			home.Pi = before
			r.savePi(home)
		}
	}
}

// notMoved takes out of a configured place the board that was adopted at another
// since, of those that are kept: the file does not know.
func (r *rack) notMoved(p Pi, keep map[PiName]bool) Pi {
	if home := r.homeOf(p.MAC, r.pis[p.Name]); home != nil && home.Name != p.Name && keep[home.Name] {
		p.MAC, p.Serial, p.Model = MAC{}, 0, ModelUnknown
	}
	return p
}
