package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A stepDef is one kind of step: what it does outside the loop, and what it
// changes in the rack when it is done. Both may be repeated after a crash.
type stepDef struct {
	run   func(ctx context.Context, e *Engine, w *work) error // nil: nothing to do outside
	apply func(r *rack, p *piState, w *work, err error)       // in the loop, saved with the step
	// waits marks steps that may be cut short when the job is cancelled.
	waits bool
}

// work is what a step gets to see: copies, since it runs beside the loop.
type work struct {
	job     Job
	pi      Pi
	person  Person
	discard []string // volumes to remove
	reading *PortReading
	size    int64 // of a new root
	// What the steps found out.
	hostKeys []HostKey
	export   string
	silent   error         // why an examination did not report
	rest     time.Duration // that the port has to stay off yet
	percent  func(done, total int64)
}

// Step names.
const (
	stepClone       = "clone"
	stepPersonalise = "personalise"
	stepPowerOff    = "power-off"
	stepHold        = "hold"
	stepSwitchRoot  = "switch-root"
	stepPublish     = "publish"
	stepWithdraw    = "withdraw"
	stepPowerOn     = "power-on"
	stepBoot        = "boot"
	stepTidy        = "tidy"
	stepHandOver    = "hand-over"
	stepGrow        = "grow"
	stepRescue      = "rescue"
	stepEnterRescue = "enter-rescue"
	stepLeaveRescue = "leave-rescue"
	stepCut         = "cut-power" // as power-off, and goes on when the switch does not answer
	stepRest        = "rest"      // as hold, for what is left of it
	stepMoveIn      = "move-in"
	stepGoLive      = "go-live"
	stepDetach      = "detach"
	stepKeys        = "keys"
)

// plans are the steps of each verb that is a job. The last ones are the
// engine's own.
var plans = map[VerbName][]string{
	VerbOn:      {stepPowerOn, stepBoot},
	VerbOff:     {stepPowerOff},
	VerbCycle:   {stepPowerOff, stepHold, stepPowerOn, stepBoot},
	VerbReimage: {stepClone, stepPersonalise, stepPowerOff, stepSwitchRoot, stepPublish, stepPowerOn, stepBoot, stepTidy},
	VerbUndo:    {stepPowerOff, stepSwitchRoot, stepPublish, stepPowerOn, stepBoot},
	VerbBroken:  {stepPowerOff, stepWithdraw},
	VerbReady:   {stepPublish},
	// Up to the hand-over the steps are those of the Pi that has the server, and
	// then of the one that gets it. The export goes after the power: a port that
	// cannot be switched off leaves the server as it was. Name, keys and addresses
	// are the server's and in its root already, which is the customer's to change.
	VerbMove: {
		stepPowerOff, stepWithdraw, stepHandOver,
		stepPowerOff, stepHold, stepPublish, stepPowerOn, stepBoot, stepTidy,
	},
	VerbResize:   {stepGrow},
	VerbRescue:   {stepRescue, stepPowerOff, stepHold, stepEnterRescue, stepPublish, stepPowerOn, stepBoot},
	VerbUnrescue: {stepPowerOff, stepHold, stepLeaveRescue, stepPublish, stepPowerOn, stepBoot},
	verbDeploy:   {stepClone, stepPersonalise, stepSwitchRoot, stepPublish, stepPowerOn, stepBoot},
	// A board that asked while nothing was there for it may have given up.
	verbCommission: {stepClone, stepPersonalise, stepSwitchRoot, stepPublish, stepPowerOff, stepHold, stepPowerOn, stepBoot},
	verbReturn:     {stepPublish, stepPowerOn, stepBoot},
	VerbExamine:    examPlan,
	verbListen:     {stepListen},
	verbResume:     {stepPublish, stepPowerOff, stepHold, stepPowerOn, stepBoot},

	// The power goes first, so that the time a clone takes is part of the rest.
	verbProvision: {stepPowerOff, stepClone, stepPersonalise, stepRest, stepMoveIn, stepPublish, stepPowerOn, stepBoot, stepGoLive},
	verbRelease:   {stepCut, stepWithdraw, stepDetach},
	verbRekey:     {stepKeys},
}

// JobVerbs are the verbs that jobs have, the engine's own included, sorted.
func JobVerbs() []VerbName { return slices.Sorted(maps.Keys(plans)) }

// The engine's own verbs.
const (
	verbDeploy     VerbName = "deploy"     // gives a Pi its first root
	verbCommission VerbName = "commission" // the same for a board that was adopted
	verbReturn     VerbName = "return"     // powers a server on again whose move ended early
	verbExpire     VerbName = "expire"     // gives a former root up
	verbProvision  VerbName = "provision"  // carries an order out
	verbRelease    VerbName = "release"    // takes a server off its Pi
	verbRekey      VerbName = "keys"       // changes who may log in
)

var stepDefs = map[string]stepDef{
	stepClone: {run: func(ctx context.Context, e *Engine, w *work) error {
		return e.cfg.Roots.Clone(ctx, w.job.Image, w.job.Volume, w.size, w.percent)
	}},
	stepPersonalise: {apply: applyPersonalise, run: func(ctx context.Context, e *Engine, w *work) error {
		var err error
		w.hostKeys, err = e.cfg.Roots.Personalise(ctx, w.job.Volume, w.person)
		return err
	}},
	stepPowerOff: {run: setPower(false), apply: applyPowerOff},
	stepHold: {waits: true, run: func(ctx context.Context, e *Engine, _ *work) error {
		return sleep(ctx, e.cfg.Hold)
	}},
	stepSwitchRoot: {apply: applySwitchRoot},
	stepPublish: {apply: applyPublish, run: func(ctx context.Context, e *Engine, w *work) error {
		if w.pi.Volume == "" {
			return nil
		}
		var err error
		w.export, err = e.cfg.Roots.Publish(ctx, w.pi, w.pi.Volume)
		return err
	}},
	stepWithdraw: {apply: applyWithdraw, run: func(ctx context.Context, e *Engine, w *work) error {
		return e.cfg.Roots.Withdraw(ctx, w.pi)
	}},
	stepPowerOn: {run: setPower(true), apply: applyPowerOn},
	stepBoot:    {waits: true, run: waitForBoot},
	stepTidy:    {run: removeDiscarded, apply: applyTidy},

	stepHandOver: {apply: applyHandOver},
	stepGrow: {apply: applyGrow, run: func(ctx context.Context, e *Engine, w *work) error {
		return e.cfg.Roots.Grow(ctx, w.job.Volume, w.job.Size)
	}},
	stepRescue: {apply: applyRescue, run: func(ctx context.Context, e *Engine, w *work) error {
		var err error
		w.hostKeys, err = e.cfg.Roots.Rescue(ctx, w.pi, w.job.Image, w.person)
		return err
	}},
	stepCut: {apply: applyPowerOff, run: func(ctx context.Context, e *Engine, w *work) error {
		err := setPower(false)(ctx, e, w)
		if err != nil {
			e.cfg.Log.Warn("a port could not be switched off; its export ends", "pi", w.pi.Name, "err", err)
		}
		return nil
	}},
	stepRest:   {waits: true, run: func(ctx context.Context, _ *Engine, w *work) error { return sleep(ctx, w.rest) }},
	stepMoveIn: {apply: applyMoveIn},
	stepGoLive: {apply: applyGoLive},
	stepDetach: {apply: applyDetach},
	stepKeys: {run: func(ctx context.Context, e *Engine, w *work) error {
		return e.cfg.Roots.Keys(ctx, w.pi.Volume, w.person.Keys)
	}},
	stepEnterRescue: {apply: applyRescueMode(true)},
	stepLeaveRescue: {apply: applyRescueMode(false)},

	stepPrepare:   {run: prepareExam},
	stepEnterExam: {apply: applyExam(true)},
	stepReport:    {waits: true, run: waitForReport, apply: applyReport},
	stepLeaveExam: {apply: applyExam(false)},
	stepListen:    {run: listenAt, apply: applyReading},
}

// applyPersonalise keeps the host keys with the root, so that undo and move
// bring the right ones along.
func applyPersonalise(r *rack, _ *piState, w *work, err error) {
	v, ok := r.volumes[w.job.Volume]
	if err != nil || !ok {
		return
	}
	v.HostKeys = w.hostKeys
	r.saveVolume(v)
}

func applyGrow(r *rack, _ *piState, w *work, err error) {
	v, ok := r.volumes[w.job.Volume]
	if err != nil || !ok {
		return
	}
	v.Size = w.job.Size
	r.saveVolume(v)
}

func applyRescue(r *rack, _ *piState, w *work, err error) {
	v, ok := r.volumes[w.job.Volume]
	if err != nil || !ok {
		return
	}
	v.RescueKeys = w.hostKeys
	r.saveVolume(v)
}

func applyRescueMode(on bool) func(*rack, *piState, *work, error) {
	return func(r *rack, p *piState, _ *work, err error) {
		if err == nil && p.Rescue != on {
			p.Rescue = on
			r.savePi(p)
		}
	}
}

func setPower(on bool) func(context.Context, *Engine, *work) error {
	return func(ctx context.Context, e *Engine, w *work) error {
		reading, err := e.cfg.Power.SetPower(ctx, w.pi.Segment.Port, on)
		if reading.Port != 0 {
			w.reading = &reading
		}
		return err
	}
}

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

func applyReading(r *rack, p *piState, w *work, _ error) {
	if w.reading != nil {
		p.readBack = time.Now()
		r.seePort(p, p.readBack, *w.reading)
	}
}

// applyPowerOff also forgets that the port could not be powered: off is as asked.
func applyPowerOff(r *rack, p *piState, w *work, err error) {
	if err == nil {
		p.facts.powerErr = nil
	}
	applyReading(r, p, w, err)
}

// applyPowerOn also stalls a Pi whose port could not be powered: no boot
// would ever begin that could stall.
func applyPowerOn(r *rack, p *piState, w *work, err error) {
	applyReading(r, p, w, err)
	p.facts.powerErr = nil
	if err == nil || errors.Is(err, context.Canceled) || p.port.Delivering {
		return
	}
	now := time.Now()
	if p.boot == nil || p.stage == StageOff {
		r.startBoot(p, StagePower, now, "power was asked for")
	}
	p.facts.powerErr = errors.New(printable(err.Error()))
	if p.stage != StageStalled {
		r.stall(p, now, diagnose(p, StagePower))
	}
}

// applySwitchRoot makes the job's volume the Pi's root and keeps the present
// one as the former. In the one transaction: a crash leaves either.
func applySwitchRoot(r *rack, p *piState, w *work, err error) {
	if err != nil || p.Volume == w.job.Volume {
		return
	}
	older, olderImage := p.Volume, p.Image
	if p.Former != "" && p.Former != w.job.Volume {
		r.markVolume(p.Former, VolumeDiscarded)
	}
	r.markVolume(older, VolumeFormer)
	r.markVolume(w.job.Volume, VolumeCurrent)
	p.Volume, p.Image = w.job.Volume, w.job.Image
	p.Former, p.FormerImage = older, olderImage
	p.Rescue = false // it was of the former root
	if older == "" {
		p.FormerImage = ""
	}
	r.savePi(p)
}

// waitForBoot waits for the loop to say that the Pi is up or stalled.
func waitForBoot(ctx context.Context, e *Engine, w *work) error {
	reply := make(chan error, 1)
	select {
	case e.steps <- stepMessage{kind: stepWatch, job: w.job.ID, watch: reply, reply: make(chan error, 1)}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func removeDiscarded(ctx context.Context, e *Engine, w *work) error {
	for _, v := range w.discard {
		if err := e.cfg.Roots.Remove(ctx, v); err != nil {
			return fmt.Errorf("remove the root %s, which nothing uses any more: %w", v, err)
		}
	}
	return nil
}

func applyTidy(r *rack, _ *piState, w *work, err error) {
	if err != nil {
		return
	}
	for _, v := range w.discard {
		r.markVolume(v, VolumeRemoved)
	}
}
