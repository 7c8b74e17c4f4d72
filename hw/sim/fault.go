package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"picloud/hw/sim/pi"
	"picloud/hw/sim/poeswitch"
)

// Errors of [Rack.SetFault] and the look-ups.
var (
	ErrNoPi     = errors.New("no such Pi")
	ErrNoSwitch = errors.New("no such switch")
	// ErrFixed means that a fault can be given to a rack only when it is made.
	ErrFixed = errors.New("cannot be changed in a rack that has been made")
)

// dealFaults gives the faults to Pis at random. Faults that few families can have
// are dealt first.
func (r *Rack) dealFaults(rng *rand.Rand) error {
	list := append(pi.Faults(), pi.ExamFaults()...)
	slices.SortStableFunc(list, func(a, b pi.Fault) int { return len(a.Families) - len(b.Families) })
	for _, f := range list {
		fit := make([]*unit, 0, len(r.units))
		for _, u := range r.units {
			if u.fault == "" && f.Fits(u.board.Family) && u.fresh == (f.Place == pi.InExam) {
				fit = append(fit, u)
			}
		}
		want := r.cfg.Faults[f.Name]
		if want > len(fit) {
			return fmt.Errorf("sim: new: %w: fault %s on %d Pis, but only %d are left that can have it%s", ErrConfig, f.Name, want, len(fit), lacking(f))
		}
		rng.Shuffle(len(fit), func(i, j int) { fit[i], fit[j] = fit[j], fit[i] })
		for _, u := range fit[:want] {
			u.fault = f.Name
			if f.Place != pi.InInventory {
				continue
			}
			other, err := pi.NewBoard(u.board.Family, rng)
			if err != nil {
				return err
			}
			u.board = other
		}
	}
	return nil
}

// never is a forward delay that no simulation lives to see the end of; it is
// divided by Config.Speed.
const never = 10 * 365 * 24 * time.Hour

// portFaults tells a switch port to have a fault, or not to.
var portFaults = map[string]func(sw *poeswitch.Switch, port int, on bool) error{
	pi.PoELie: func(sw *poeswitch.Switch, port int, on bool) error { return sw.SetPortLie(port, on) },
	pi.PoEDenied: func(sw *poeswitch.Switch, port int, on bool) error {
		return sw.SetDenied(port, on)
	},
	pi.PoEFault: func(sw *poeswitch.Switch, port int, on bool) error {
		fault := poeswitch.NoFault
		if on {
			fault = poeswitch.Short
		}
		return sw.SetFault(port, fault)
	},
	pi.STPBlocked: func(sw *poeswitch.Switch, port int, on bool) error {
		if on {
			return sw.SetSTP(port, poeswitch.STP{ForwardDelay: never})
		}
		return sw.SetSTP(port, poeswitch.STP{Edge: true})
	},
}

// SetFault gives a Pi a fault in the place of the one that it has; an empty name
// takes it away. Faults of the Pi and of spanning tree strike at its next boot,
// those of its port at once. Errors wrap [ErrNoPi], [ErrFixed] for a fault that
// lies in the inventory, pi.ErrUnknownFault, or pi.ErrConfig when the Pi is of a
// family that cannot have it.
func (r *Rack) SetFault(name, fault string) error {
	u, err := r.unit(name)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range []string{u.fault, fault} {
		if known, err := pi.FaultNamed(f); err == nil && known.Place == pi.InInventory && u.fault != fault {
			return fmt.Errorf("sim: fault %s of %s: %w", f, name, ErrFixed)
		}
	}
	if err := u.pi.SetFault(fault); err != nil {
		return fmt.Errorf("sim: %s: %w", name, err)
	}
	old := u.fault
	u.fault = fault
	return errors.Join(u.portFault(old, false), u.portFault(fault, true))
}

func (u *unit) portFault(name string, on bool) error {
	if set, ok := portFaults[name]; ok {
		return set(u.port.sw, u.port.n, on)
	}
	return nil
}

// lacking says which Pis a fault needs.
func lacking(f pi.Fault) string {
	if f.Place == pi.InExam {
		return ": it is found on a new board alone"
	}
	return ""
}
