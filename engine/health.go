package engine

import "fmt"

// HealthSeen is what an examination of the service and its host found, all
// that is not as it should be; it takes the place of the one before.
type HealthSeen struct{ Findings []HealthFinding }

// HealthFinding is one thing that is not as it should be.
type HealthFinding struct {
	Check   string // its short stable name
	Subject string // what is concerned, as sw1/23; "" = the whole host
	Failure bool   // it keeps Pis from working; else it soon may
	Text    string // what is
	Remedy  string // what to do, "" = the text says it
}

// String is the finding in one line.
func (f HealthFinding) String() string {
	s := f.Text
	if f.Subject != "" {
		s = f.Subject + ": " + s
	}
	if f.Remedy != "" {
		s += " (" + f.Remedy + ")"
	}
	return printable(s)
}

// shownFindings bounds what is shown of an examination that found everything
// broken.
const shownFindings = 20

// seeHealth takes over an examination. A failure that was not there before is
// logged.
func (r *rack) seeHealth(h *HealthSeen) {
	r.dirty = true
	had := make(map[string]bool, len(r.health))
	for _, line := range r.health {
		had[line] = true
	}
	var failures, warnings []string
	for _, f := range h.Findings {
		if line := f.String(); f.Failure {
			failures = append(failures, line)
		} else {
			warnings = append(warnings, line)
		}
	}
	for i, line := range failures {
		if !had[line] && i < shownFindings {
			r.logf(SystemActor().Name, "", 0, "%s", line)
		}
	}
	r.health = append(failures, warnings...)
	if more := len(r.health) - shownFindings; more > 0 {
		r.health = append(r.health[:shownFindings], fmt.Sprintf("and %d more: picloud doctor lists them", more))
	}
}
