package engine

import (
	"fmt"
	"time"
)

// The count-downs of the default guards. A reimage's is longer: it takes more
// away.
const (
	cycleDelay   = 3 * time.Second
	reimageDelay = 5 * time.Second
)

// all joins reasons to refuse: the first that applies is given.
func all(checks ...func(*PiView) string) func(*PiView) string {
	return func(p *PiView) string {
		for _, check := range checks {
			if why := check(p); why != "" {
				return why
			}
		}
		return ""
	}
}

func refuseBusy(p *PiView) string {
	if p.Job == nil {
		return ""
	}
	return fmt.Sprintf("job %d (%s) is not over; x cancels it", p.Job.ID, p.Job.Verb)
}

func refuseSilentSwitch(p *PiView) string {
	if p.Power == PowerUnknown {
		return fmt.Sprintf("switch %s does not answer", p.Port.Switch)
	}
	return ""
}

func refuseBroken(p *PiView) string {
	if p.Life == LifeBroken {
		return "it is marked broken; :ready takes the mark away"
	}
	return ""
}

func refuseNotBroken(p *PiView) string {
	switch {
	case p.Life == LifeBroken, p.Life == LifeReleasing && p.Server == "" && p.Root == "":
		return ""
	case p.Life != LifeNew:
		return "it is not marked broken or new"
	case p.MAC == MAC{}:
		return "no board is known here; power it on (o), then :adopt the one that is heard"
	}
	return ""
}

func refuseOn(p *PiView) string {
	if p.Power == PowerOn {
		return "it is on"
	}
	return ""
}

func refuseOff(p *PiView) string {
	if p.Power == PowerOff {
		return "it is off"
	}
	return ""
}

func refuseNoFormer(p *PiView) string {
	if p.Former == "" {
		return "no former root is kept"
	}
	return ""
}

func refuseFree(p *PiView) string {
	if p.Server == "" {
		return "nobody has it: there is no server to move"
	}
	return ""
}

func refuseRented(p *PiView) string {
	if p.Server != "" {
		return fmt.Sprintf("it has a server, %s", p.Server)
	}
	return ""
}

func refuseNoRoot(p *PiView) string {
	if p.Root == "" {
		return "it has no root"
	}
	return ""
}

func refuseRescue(p *PiView) string {
	if p.Rescue {
		return "it is in rescue; :unrescue boots its root again"
	}
	return ""
}

func refuseNoRescue(p *PiView) string {
	if !p.Rescue {
		return "it is not in rescue"
	}
	return ""
}

func refuseNotReady(p *PiView) string {
	if p.Life != LifeReady {
		return fmt.Sprintf("it is %s, not ready", p.Life)
	}
	return ""
}

func refuseNoBoard(p *PiView) string {
	if p.MAC == (MAC{}) {
		return "no board is known there"
	}
	return ""
}

func refuseStalled(p *PiView) string {
	if p.Stage == StageStalled {
		return fmt.Sprintf("it stalled at %s", p.Diagnosis.At)
	}
	return ""
}

func refuseNoJob(p *PiView) string {
	if p.Job == nil {
		return "it has no job"
	}
	return ""
}

func refuseNothingSeen(p *PiView) string {
	if p.Seen == nil {
		return "no other board was heard on its segment"
	}
	return ""
}
