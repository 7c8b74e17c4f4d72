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
	case p.Life == LifeBroken:
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
