package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"picloud/engine"
)

// Headless runs a demo without a screen and writes what happens.
type Headless struct {
	Options Options
	JSON    bool          // one object a line; otherwise plain text
	For     time.Duration // ends no later than this
	Out     io.Writer
}

// Summary is the end of a headless run.
type Summary struct {
	Pis     int     `json:"pis"`
	Up      int     `json:"up"`
	Stalled int     `json:"stalled"`
	Broken  int     `json:"broken,omitempty"` // and off
	Seconds float64 `json:"seconds"`
}

// AllUp tells whether no Pi failed.
func (s Summary) AllUp() bool { return s.Up == s.Pis }

// line is one change of a Pi's stage.
type line struct {
	Time     time.Time `json:"time"`
	Pi       string    `json:"pi"`
	Port     string    `json:"port"`
	Stage    string    `json:"stage"`
	Evidence string    `json:"evidence"`
	Fault    string    `json:"fault,omitempty"` // of a stalled Pi: its name,
	Cause    string    `json:"cause,omitempty"` // the reason in a sentence,
	Hint     string    `json:"hint,omitempty"`  // and what to do
}

// verdict is why a Pi is broken.
type verdict struct {
	Pi   string `json:"pi"`
	Life string `json:"life"`
	Note string `json:"note"`
}

var errOver = errors.New("every Pi is up, stalled or broken")

// settleEvery is how often it is looked whether all is settled that no change of a
// stage tells.
const settleEvery = 250 * time.Millisecond

// Run boots the rack until every Pi is up, stalled or broken, or the time is over.
// With an API it goes on until the time is over or ctx ends.
func (h Headless) Run(ctx context.Context) (Summary, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if h.For > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, h.For)
		defer stop()
	}
	log := &changes{settled: map[engine.PiName]engine.Stage{}, wake: make(chan struct{}, 1)}
	h.Options.Stage = log.add
	d, err := Open(ctx, h.Options)
	if err != nil {
		return Summary{}, err
	}
	pis := len(d.Config().Segments)
	start := time.Now()
	var writing sync.WaitGroup
	var writeErr error
	writing.Go(func() {
		if writeErr = h.writeCustomer(ctx, d, cancel); writeErr == nil {
			writeErr = h.write(ctx, d.Engine(), log, cancel)
		}
	})
	err = d.Run(ctx)
	cancel(err)
	writing.Wait()
	if writeErr == nil {
		writeErr = h.writeAll(log) // what came while the rack stopped: the summary counts it
	}
	s := log.summary()
	broken := brokenOf(d.Engine().Snapshot())
	s.Broken = len(broken)
	s.Pis, s.Seconds = pis, time.Since(start).Round(time.Millisecond).Seconds()
	if err == nil {
		err = writeErr
	}
	if err == nil {
		err = h.writeBroken(broken)
	}
	if err == nil {
		err = h.writeSummary(s)
	}
	return s, err
}

// writeCustomer tells where servers can be ordered, and with which key.
func (h Headless) writeCustomer(ctx context.Context, d *Demo, end context.CancelCauseFunc) error {
	if !h.Options.API.IsValid() {
		return nil
	}
	c, err := d.Customer(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		end(err)
		return err
	}
	if h.JSON {
		return json.NewEncoder(h.Out).Encode(struct {
			Customer Customer `json:"api"`
		}{c})
	}
	_, err = fmt.Fprintln(h.Out, c)
	return err
}

// write prints the changes as they come, and ends the run when all is settled and
// nobody can order servers.
func (h Headless) write(ctx context.Context, e *engine.Engine, log *changes, end context.CancelCauseFunc) error {
	look := time.NewTicker(settleEvery)
	defer look.Stop()
	for {
		if err := h.writeAll(log); err != nil {
			end(err)
			return err
		}
		now := e.Snapshot()
		if s := log.summary(); !h.Options.API.IsValid() && s.Up+s.Stalled+len(brokenOf(now)) == len(now.Pis) && !examining(now) {
			end(errOver)
		}
		select {
		case <-log.wake:
		case <-look.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (h Headless) writeAll(log *changes) error {
	for _, c := range log.take() {
		if err := h.writeLine(c); err != nil {
			return err
		}
	}
	return nil
}

func (h Headless) writeLine(c engine.StageChange) error {
	l := line{
		Time: c.Time, Pi: string(c.Pi), Port: c.Port.String(), Stage: c.Stage.String(), Evidence: c.Evidence,
		Fault: c.Diagnosis.Fault, Cause: c.Diagnosis.Cause, Hint: c.Diagnosis.Hint,
	}
	if h.JSON {
		return json.NewEncoder(h.Out).Encode(l)
	}
	_, err := fmt.Fprintf(h.Out, "%s  %-8s %-7s %-8s %s\n", l.Time.Format("15:04:05.000"), l.Pi, l.Port, l.Stage, l.Evidence)
	if err == nil && l.Hint != "" {
		_, err = fmt.Fprintf(h.Out, "%38s try: %s\n", "", l.Hint)
	}
	return err
}

// brokenOf lists the Pis that are broken and off.
func brokenOf(s *engine.Snapshot) []verdict {
	var list []verdict
	for _, p := range s.Pis {
		if p.Life == engine.LifeBroken && p.Job == nil && p.Stage == engine.StageOff {
			list = append(list, verdict{string(p.Name), string(p.Life), p.Note})
		}
	}
	return list
}

// examining tells whether a Pi is examined: then what it is is not its last word.
func examining(s *engine.Snapshot) bool {
	return slices.ContainsFunc(s.Pis, func(p engine.PiView) bool { return p.Exam })
}

func (h Headless) writeBroken(list []verdict) error {
	for _, v := range list {
		var err error
		if h.JSON {
			err = json.NewEncoder(h.Out).Encode(v)
		} else {
			_, err = fmt.Fprintf(h.Out, "%s is %s: %s\n", v.Pi, v.Life, v.Note)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h Headless) writeSummary(s Summary) error {
	if h.JSON {
		return json.NewEncoder(h.Out).Encode(struct {
			Summary Summary `json:"summary"`
		}{s})
	}
	broken := ""
	if s.Broken > 0 {
		broken = fmt.Sprintf(", %d broken", s.Broken)
	}
	_, err := fmt.Fprintf(h.Out, "%d Pis: %d up, %d stalled%s, after %.1f s\n", s.Pis, s.Up, s.Stalled, broken, s.Seconds)
	return err
}

// changes gathers stage changes for the writer; the engine never waits for it.
type changes struct {
	mu      sync.Mutex
	waiting []engine.StageChange
	settled map[engine.PiName]engine.Stage
	wake    chan struct{}
}

func (c *changes) add(s engine.StageChange) {
	c.mu.Lock()
	c.waiting = append(c.waiting, s)
	c.settled[s.Pi] = s.Stage
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *changes) take() []engine.StageChange {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.waiting
	c.waiting = nil
	return got
}

func (c *changes) summary() Summary {
	c.mu.Lock()
	defer c.mu.Unlock()
	var s Summary
	for _, stage := range c.settled {
		switch stage {
		case engine.StageUp:
			s.Up++
		case engine.StageStalled:
			s.Stalled++
		}
	}
	return s
}
