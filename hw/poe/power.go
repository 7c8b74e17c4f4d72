package poe

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// change is a power change that was sent to the switch and waits for the
// switch's detection status to agree.
type change struct {
	port     int
	on       bool
	denied   uint32    // pethPsePortPowerDeniedCounter before
	deadline time.Time // when waiting ends
	sent     error     // ErrNoAnswer where the SET itself was not answered
	wasOff   bool      // to off, of a port that is: its time off goes on
}

// verdict judges a port's state after a change: done with or without an error,
// or not yet.
func (c change) verdict(s PortState) (done bool, err error) {
	switch {
	case s.Err != nil:
		return false, nil
	case !c.on:
		return s.Admin == AdminDisabled && !s.On(), nil
	case s.Admin != AdminEnabled:
		return false, nil
	case s.On():
		return true, nil
	case s.Detection == DetectionFault || s.Detection == DetectionOtherFault:
		return true, fmt.Errorf("%w: the switch says %v", ErrFault, s.Detection)
	case s.Denied != c.denied:
		return true, ErrDenied
	}
	return false, nil
}

// overdue is why a change is still not done when its time is over.
func (c change) overdue(s PortState) error {
	switch {
	case s.Err != nil:
		return fmt.Errorf("set but not confirmed, the state is unknown: %w", s.Err)
	case c.sent != nil && s.Admin != c.want():
		return c.sent
	case s.Admin != c.want():
		return fmt.Errorf("%w: power is still %v", ErrNotApplied, s.Admin)
	case c.on:
		return fmt.Errorf("%w: the switch says %v", ErrNoLoad, s.Detection)
	}
	return fmt.Errorf("%w: power is disabled and the switch still says %v", ErrNotApplied, s.Detection)
}

func (c change) want() Admin {
	if c.on {
		return AdminEnabled
	}
	return AdminDisabled
}

// tooSoon is ErrTooSoon with the time that is left.
type tooSoon time.Duration

func (t tooSoon) Error() string {
	return fmt.Sprintf("%v: %v more", ErrTooSoon, time.Duration(t).Round(time.Millisecond))
}

func (tooSoon) Unwrap() error { return ErrTooSoon }

// hold is how long power must still stay off at a port.
func (d *SNMP) hold(port int) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	off, ok := d.offAt[port]
	if !ok {
		return 0
	}
	return max(0, d.cfg.MinOff-time.Since(off))
}

func (d *SNMP) offNow(port int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.offAt[port] = time.Now()
}

// write reads a port and then sends its change: a switch that does not answer
// is sent nothing.
func (d *SNMP) write(ctx context.Context, port int, on bool) (change, error) {
	inner, done, err := d.begin(ctx)
	if err != nil {
		return change{}, d.fail("set power", port, err)
	}
	defer done()
	c, err := d.send(inner, port, on)
	return c, d.fail("set power", port, err)
}

func (d *SNMP) send(ctx context.Context, port int, on bool) (change, error) {
	c := change{port: port, on: on}
	if d.profile.ReadOnly {
		return c, fmt.Errorf("%w: %s", ErrReadOnly, d.profile.Vendor)
	}
	if err := d.check(port); err != nil {
		return c, err
	}
	if left := d.hold(port); on && left > 0 {
		return c, tooSoon(left)
	}
	before, err := d.readPorts(ctx, []int{port}, nil)
	if err == nil {
		err = before[0].Err // a row that cannot be read must not be written
	}
	if err != nil {
		return c, err
	}
	value, limit := d.profile.On, d.cfg.OnLimit
	if !on {
		value, limit = d.profile.Off, d.cfg.OffLimit
	}
	err = d.sess.set(ctx, d.profile.Enable.OID+d.profile.Enable.Index.of(d.plans[port].PortIndex), value)
	if err != nil && !errors.Is(err, ErrNoAnswer) {
		return c, err
	}
	c.wasOff = !on && before[0].Admin == AdminDisabled && !before[0].On()
	// A SET whose answer was lost may have worked: the state tells.
	if !on && !c.wasOff {
		d.offNow(port)
	}
	c.sent, c.denied, c.deadline = err, before[0].Denied, time.Now().Add(limit)
	return c, nil
}

// confirm judges a change by a state just read and returns the error that a
// caller gets. A port found off starts its time off anew, as the switch may
// have taken a while.
func (d *SNMP) confirm(c change, s PortState) (done bool, err error) {
	done, err = c.verdict(s)
	if !done && time.Now().After(c.deadline) {
		done, err = true, c.overdue(s)
	}
	if done && err == nil && !c.on && !c.wasOff {
		d.offNow(c.port)
	}
	return done, d.fail("set power", c.port, err)
}

// SetPower is Switch.SetPower. It first waits until the port has been off for
// Config.MinOff.
func (d *SNMP) SetPower(ctx context.Context, port int, on bool) (PortState, error) {
	c, err := d.writeWhenDue(ctx, port, on)
	if err != nil {
		return d.unknown(port, err), err
	}
	for {
		states, _ := d.Read(ctx, port) // the state says why it is unknown
		done, err := d.confirm(c, states[0])
		if done {
			return states[0], err
		}
		if err := sleep(ctx, d.cfg.ReadBack); err != nil {
			err = d.fail("set power", port, fmt.Errorf("set but not confirmed: %w", err))
			return d.unknown(port, err), err
		}
	}
}

func (d *SNMP) writeWhenDue(ctx context.Context, port int, on bool) (change, error) {
	for {
		c, err := d.write(ctx, port, on)
		var wait tooSoon
		if !errors.As(err, &wait) {
			return c, err
		}
		if err := sleep(ctx, time.Duration(wait)); err != nil {
			return c, d.fail("set power", port, err)
		}
	}
}

// sleep waits for d or until ctx ends, which is its error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
