package tui

import (
	"fmt"
	"slices"
	"strings"

	"picloud/engine"
)

// args are what follows a verb's targets.
type args struct {
	image  string
	reason string
	to     engine.PiName // "" = a spare that the engine picks
	size   size
}

// argument is how a verb's argument is read from a line, completed and checked.
type argument struct {
	// asks makes the verb's key ask for it; needed makes a ":" line without it
	// ask, too.
	asks, needed bool
	// targets is how many words may be targets, 0 = all that are.
	targets int
	// read takes the words after the targets.
	read func(a *args, toks []string, sc scope) error
	// alone tells whether words can only be the argument: the targets are then
	// the marked or selected Pis.
	alone func(toks []string, sc scope) bool
	// closed says why it is of no use to give one on this rack, "" = it is.
	closed func(sc scope) string
	// refuse says why a Pi cannot have it, "" = it can.
	refuse func(a args, p *engine.PiView, sc scope) string
	// options are what it could be, for completion.
	options func(sc scope, targets []engine.PiName) []string
}

// argumentOf finds the argument of a verb. One that the table of verbs gives an
// argument which is not here takes a reason.
func argumentOf(v engine.Verb) argument {
	switch v.Name {
	case engine.VerbReimage:
		return argument{read: readImage, alone: isImage, options: imageNames}
	case engine.VerbMove:
		return argument{asks: true, targets: 1, read: readTo, refuse: refuseTo, options: spareNames}
	case engine.VerbResize:
		return argument{asks: true, needed: true, read: readSize, alone: looksLikeSize, closed: noSizes, refuse: refuseSize, options: sizeNames}
	}
	if v.Args == "" {
		return argument{read: readNothing}
	}
	return argument{read: readReason}
}

// given tells whether the argument that a verb cannot do without is there.
func (a args) given() bool { return a.size.bytes != 0 }

func readNothing(_ *args, toks []string, _ scope) error {
	return fmt.Errorf("there is no Pi, port or set %q", clip(toks[0]))
}

func readReason(a *args, toks []string, _ scope) error {
	a.reason = strings.Join(toks, " ")
	return nil
}

func isImage(toks []string, sc scope) bool { return len(toks) == 1 && sc.hasImage(toks[0]) }

func readImage(a *args, toks []string, sc scope) error {
	switch {
	case len(toks) > 1:
		return fmt.Errorf("one image, not %d words after the Pis", len(toks))
	case !sc.hasImage(toks[0]):
		return fmt.Errorf("there is no Pi or image %q", clip(toks[0]))
	}
	a.image = toks[0]
	return nil
}

func imageNames(sc scope, _ []engine.PiName) []string {
	var out []string
	for _, im := range sc.snap.Images {
		out = append(out, im.Name)
	}
	return out
}

// looksLikeSize takes what begins as a size does, so that a mistake in it is
// told as one.
func looksLikeSize(toks []string, _ scope) bool {
	return strings.ContainsAny(toks[0][:1], "+0123456789")
}

func readSize(a *args, toks []string, _ scope) error {
	var err error
	a.size, err = parseSize(strings.Join(toks, " "))
	return err
}

// noSizes is the refusal of a rack whose volumes have no size.
func noSizes(sc scope) string {
	if s := &sc.snap.Space; !sc.snap.SpaceAt.IsZero() && !s.Quota {
		return fmt.Sprintf("volumes of the driver %q have no size", s.Driver)
	}
	return ""
}

func refuseSize(a args, p *engine.PiView, _ scope) string {
	if a.size.bytes == 0 {
		return "no size was given"
	}
	_, why := a.size.of(p)
	return why
}

// sizeNames offers sizes to complete: somewhat more, and round ones that are
// more than what the Pis have.
func sizeNames(sc scope, targets []engine.PiName) []string {
	out := []string{"+1G", "+5G", "+10G"}
	for _, s := range [...]string{"10G", "20G", "50G", "100G"} {
		n, err := parseSize(s)
		fits := func(t engine.PiName) bool {
			p := sc.pi(t)
			return p != nil && refuseSize(args{size: n}, p, sc) == ""
		}
		if err == nil && (len(targets) == 0 || slices.ContainsFunc(targets, fits)) {
			out = append(out, s)
		}
	}
	return out
}

// readTo takes the Pi that a server goes to, by name or port.
func readTo(a *args, toks []string, sc scope) error {
	if len(toks) > 1 {
		return fmt.Errorf("one Pi to go to, not %d words; several move by @marked, each to a spare", len(toks))
	}
	names, ok, err := sc.resolve(toks[0])
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("there is no Pi or port %q to go to", clip(toks[0]))
	case len(names) != 1:
		return fmt.Errorf("%s are %d Pis: say to which one it goes", clip(toks[0]), len(names))
	}
	a.to = names[0]
	return nil
}

func refuseTo(a args, p *engine.PiView, sc scope) string {
	if a.to == "" {
		return ""
	}
	to := sc.pi(a.to)
	switch {
	case to == nil:
		return string(a.to) + " is gone"
	case to.Name == p.Name:
		return "it is there already"
	}
	if why := cannotTake(to); why != "" {
		return string(a.to) + " cannot take it: " + why
	}
	return ""
}

// cannotTake says why no server can go to a Pi, "" = one can. The engine has
// the last word.
func cannotTake(to *engine.PiView) string {
	switch {
	case to.Server != "":
		return "it has a server, " + to.Server
	case to.Life == engine.LifeBroken:
		return "it is marked broken"
	case to.Life != engine.LifeReady:
		return fmt.Sprintf("it is %s, not ready", to.Life)
	case to.MAC == engine.MAC{}:
		return "no board is known there"
	case to.Job != nil:
		return fmt.Sprintf("job %d (%s) is not over", to.Job.ID, to.Job.Verb)
	case to.Power == engine.PowerUnknown:
		return "switch " + to.Port.Switch + " does not answer"
	}
	return ""
}

// spareNames are the Pis that a server can go to.
func spareNames(sc scope, targets []engine.PiName) []string {
	var out []string
	for i := range sc.snap.Pis {
		p := &sc.snap.Pis[i]
		if cannotTake(p) == "" && !slices.Contains(targets, p.Name) {
			out = append(out, string(p.Name))
		}
	}
	return out
}
