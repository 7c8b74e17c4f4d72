package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine"
)

// watchCommand prints what happens, until the session ends: the console's face
// for screen readers and pipes.
func (a *app) watchCommand() *cobra.Command {
	var pis []string
	c := a.leaf("watch", "print what happens, one event a line, until it is stopped", noWords, func(ctx context.Context, now *engine.Snapshot, _ []string) error {
		w := &watcher{app: a, stages: map[engine.PiName]watched{}}
		if len(pis) > 0 {
			found, err := resolve(now, pis)
			if err != nil {
				return err
			}
			w.only = make(map[engine.PiName]bool, len(found))
			for _, p := range found {
				w.only[p.Name] = true
			}
		}
		return w.run(ctx)
	})
	c.Long = "Print what happens, one event a line, until it is stopped: each stage that a Pi\n" +
		"comes to with its evidence, each act and its result, and what the rack does by\nitself. Who reads slowly is told later, and holds up nobody." + stageLegend()
	c.Flags().StringArrayVar(&pis, "pi", nil, "only of these: a name, ports or a set, as for `PI`; may be repeated")
	a.completes(c, "pi", targetWords)
	return c
}

// watched is what has been told of a Pi.
type watched struct {
	stage  engine.Stage
	boot   int64
	events int // of that boot
}

type watcher struct {
	*app
	only     map[engine.PiName]bool // nil = every Pi
	stages   map[engine.PiName]watched
	log      int64 // newest line told
	warnings []string
}

func (w *watcher) run(ctx context.Context) error {
	feed, stop := w.v.Subscribe()
	defer stop()
	first := true
	for {
		select {
		case s := <-feed:
			if s == nil {
				return engine.ErrStopped
			}
			if first {
				w.start(s)
				first = false
			} else if err := w.look(ctx, s); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
		if w.out.err != nil {
			return failf("", "watch: %w", w.out.err)
		}
	}
}

// start tells how things are and takes them as told.
func (w *watcher) start(s *engine.Snapshot) {
	for i := range s.Pis {
		w.stages[s.Pis[i].Name] = watchedOf(&s.Pis[i])
	}
	if len(s.Log) > 0 {
		w.log = s.Log[0].ID
	}
	w.tell(eventJSON{Time: stamp{s.At}, Event: "start", Text: "rack " + s.Rack + ", Pis: " + countsText(s.Counts)})
	w.warn(s)
}

func watchedOf(p *engine.PiView) watched {
	out := watched{stage: p.Stage}
	if p.Boot != nil {
		out.boot, out.events = p.Boot.ID, len(p.Boot.Events)
	}
	return out
}

// look tells what is new in a snapshot, in the order of time.
func (w *watcher) look(ctx context.Context, s *engine.Snapshot) error {
	var events []eventJSON
	for i := range s.Pis {
		if p := &s.Pis[i]; w.only == nil || w.only[p.Name] {
			events = append(events, w.stagesOf(s, p)...)
		}
	}
	if len(w.stages) > len(s.Pis) {
		for name := range w.stages {
			if _, ok := s.Pi(name); !ok {
				delete(w.stages, name)
			}
		}
	}
	lines, err := w.logOf(ctx, s)
	if err != nil {
		return err
	}
	events = append(events, lines...)
	slices.SortStableFunc(events, func(a, b eventJSON) int { return a.Time.Compare(b.Time.Time) })
	for _, e := range events {
		w.tell(e)
	}
	w.warn(s)
	return nil
}

// stagesOf tells the stages a Pi has passed since, by its boot's evidence.
func (w *watcher) stagesOf(s *engine.Snapshot, p *engine.PiView) []eventJSON {
	was, known := w.stages[p.Name]
	w.stages[p.Name] = watchedOf(p)
	if !known {
		was.stage = engine.StageUnknown
	}
	var out []eventJSON
	last := was.stage
	if p.Boot != nil && p.Stage != engine.StageUnknown {
		from := 0
		if p.Boot.ID == was.boot {
			from = min(was.events, len(p.Boot.Events))
		}
		for _, e := range p.Boot.Events[from:] {
			if e.Stage != last {
				out = append(out, stageEvent(p, e.Time, e.Stage, e.Evidence))
				last = e.Stage
			}
		}
	}
	if p.Stage != last {
		at := p.Since
		if p.Stage == engine.StageUnknown || at.IsZero() {
			at = s.At
		}
		out = append(out, stageEvent(p, at, p.Stage, p.Stage.Meaning()))
	}
	return out
}

func stageEvent(p *engine.PiView, at time.Time, stage engine.Stage, text string) eventJSON {
	port, word, name := p.Port.String(), stage.String(), string(p.Name)
	e := eventJSON{Time: stamp{at}, Event: "stage", Pi: &name, Port: &port, Stage: &word, Text: text}
	if stage == engine.StageStalled && p.Stage == stage {
		e.Fault, e.Hint = null(p.Diagnosis.Fault), null(p.Diagnosis.Hint)
	}
	return e
}

// logMissed bounds how much of the log that a snapshot has no longer is asked
// for.
const logMissed = 50

// logOf tells the log's new lines; those that the snapshot has no longer come
// from the store.
func (w *watcher) logOf(ctx context.Context, s *engine.Snapshot) ([]eventJSON, error) {
	lines := s.Log
	for range logMissed {
		n := len(lines)
		if n == 0 || lines[n-1].ID <= w.log+1 {
			break
		}
		older, err := w.v.Log(ctx, lines[n-1].ID, logPage)
		if err != nil {
			if ctx.Err() != nil {
				return nil, nil
			}
			return nil, fmt.Errorf("read the log: %w", err)
		}
		if len(older) == 0 {
			break
		}
		lines = append(slices.Clip(lines), older...)
	}
	var out []eventJSON
	for _, l := range slices.Backward(lines) {
		if l.ID > w.log && (w.only == nil || w.only[l.Pi]) && !toldAsStage(s, &l) {
			out = append(out, eventJSON{Time: stamp{l.Time}, Event: "log", Pi: null(string(l.Pi)), Actor: null(l.Actor), Job: null(l.Job), Text: l.Text})
		}
	}
	if len(lines) > 0 {
		w.log = max(w.log, lines[0].ID)
	}
	return out, nil
}

// toldAsStage finds the line that says of a stalled Pi what its stage has said.
func toldAsStage(s *engine.Snapshot, l *engine.LogLine) bool {
	p, ok := s.Pi(l.Pi)
	return ok && p.Stage == engine.StageStalled && p.Diagnosis.Cause != "" &&
		l.Actor == engine.SystemActor().Name && strings.HasSuffix(l.Text, p.Diagnosis.Cause)
}

// warn tells warnings that were not there before.
func (w *watcher) warn(s *engine.Snapshot) {
	for _, text := range s.Warnings {
		if !slices.Contains(w.warnings, text) {
			w.tell(eventJSON{Time: stamp{s.At}, Event: "warning", Text: text})
		}
	}
	w.warnings = s.Warnings
}

func (w *watcher) tell(e eventJSON) {
	e.Version = schemaVersion
	if w.json {
		_ = w.emitLine(e) // a reader who has gone is seen in w.out
		return
	}
	var line []string
	switch e.Event {
	case "stage":
		stage, _ := engine.ParseStage(*e.Stage)
		line = append(line, *e.Pi, *e.Port, string(stage.Mark())+" "+*e.Stage+":", e.Text)
		if e.Hint != nil {
			line[len(line)-1] += ";"
			line = append(line, "do: "+*e.Hint)
		}
	case "log":
		line = append(line, *e.Actor)
		if e.Pi != nil {
			line = append(line, *e.Pi)
		}
		line = append(line, e.Text)
		if e.Job != nil {
			line = append(line, fmt.Sprintf("(job %d)", *e.Job))
		}
	case "warning":
		line = append(line, "warning:", e.Text)
	default:
		line = append(line, e.Text)
	}
	w.printf("%s %s\n", e.Time.In(w.s.Zone).Format(time.TimeOnly), clean(strings.Join(line, " ")))
}
