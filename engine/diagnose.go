package engine

import (
	"fmt"
	"slices"
	"time"
)

// Names of faults, as scripts see them.
const (
	FaultBootLoop = "boot-loop"
	FaultPower    = "poe-not-applied"
)

// faultSilent is the fault of a Pi that no rule says more of.
const faultSilent = "silent"

// Faults are the names of all faults, sorted.
func Faults() []string {
	names := []string{FaultBootLoop, FaultPower, faultSilent}
	for _, r := range rules {
		names = append(names, r.fault)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// rule is one reason why a Pi may be stuck: in which stage, by which evidence,
// and what that means for the person in front of the rack.
type rule struct {
	at    Stage
	fault string
	match func(p *piState) bool
	cause func(p *piState) string
	hint  string
}

// diagnose finds the first rule that the evidence matches.
func diagnose(p *piState, at Stage) Diagnosis {
	for _, r := range rules {
		if r.at == at && r.match(p) {
			return Diagnosis{At: at, Fault: r.fault, Cause: r.cause(p), Hint: r.hint}
		}
	}
	return Diagnosis{At: at, Fault: faultSilent, Cause: fmt.Sprintf("nothing was heard after %q", at.Meaning()), Hint: "power-cycle it (c); if that does not help, swap the board"}
}

func always(*piState) bool { return true }

func inRescue(p *piState) bool { return p.Rescue }

func inExam(p *piState) bool { return p.Exam }

func says(format string, args ...func(*piState) any) func(*piState) string {
	return func(p *piState) string {
		values := make([]any, len(args))
		for i, a := range args {
			values[i] = a(p)
		}
		return fmt.Sprintf(format, values...)
	}
}

func portOf(p *piState) any { return p.Segment.Port }

// rules are tried in this order. Sources: facts of the boot ROMs as published
// (raspberrypi/documentation boot-net, raspberrypi/firmware issues, RFC 3621).
var rules = []rule{
	{
		StageOff, "not-powered",
		always,
		says("%s is off, though it should be on", portOf),
		"power it on (o); if it goes off again, see who else switches it",
	},
	{
		StagePower, "poe-fault",
		func(p *piState) bool {
			return p.port.Detection == "fault" || p.port.Short > p.facts.shortBase || p.port.Overload > p.facts.overBase
		},
		says("%s reports a PoE fault (short circuit or overload)", portOf),
		"swap the cable, then the PoE HAT; try another port",
	},
	{
		StagePower, "poe-denied",
		func(p *piState) bool {
			return p.port.Detection == "otherFault" || p.port.Denied > p.facts.deniedBase && !p.port.Delivering
		},
		says("%s was denied power: over the switch's budget, or a class it does not give", portOf),
		"free power on this switch, or move the Pi to another",
	},
	{
		StagePower, "poe-not-applied",
		func(p *piState) bool { return p.facts.powerErr != nil },
		says("the switch did not power %s: %v", portOf, func(p *piState) any { return p.facts.powerErr }),
		"check that the SNMP user may write, and the switch's own log",
	},
	{
		StagePower, "no-device",
		func(p *piState) bool { return p.port.Enabled && !p.port.Delivering },
		says("%s is enabled but finds no PoE device (%v)", portOf, func(p *piState) any { return p.port.Detection }),
		"check that a Pi with a PoE HAT is plugged in, and the cable",
	},
	{
		StagePower, "no-link",
		func(p *piState) bool { return p.port.LinkKnown && !p.port.LinkUp },
		says("%s delivers power but has no link", portOf),
		"swap the cable; then the board",
	},
	{
		StagePower, "stp-blocked",
		func(p *piState) bool { return p.facts.stp != "" && p.facts.discovers == 0 },
		says("spanning tree kept %s in %v while the Pi asked for an address", portOf, func(p *piState) any { return p.facts.stp }),
		"make it an edge port (PortFast), then power-cycle the Pi (c)",
	},
	{
		StagePower, "swapped",
		func(p *piState) bool { return p.other != nil },
		says("another board answers on this port: %v", func(p *piState) any { return describeBoard(p.other) }),
		":adopt it if the board was swapped, else put the right one back",
	},
	{
		StagePower, "no-netboot",
		always,
		says("power and link are up on %s, but no DISCOVER came", portOf),
		"3B: set its OTP boot bit; 4 and 5: BOOT_ORDER must contain 2 (network)",
	},
	{
		StageDHCP, "boot-refused",
		func(p *piState) bool { return p.facts.refused != "" },
		says("it asked for a boot file and was refused: %v", func(p *piState) any { return p.facts.refused }),
		"give it a root (i), or take the mark broken away (:ready)",
	},
	{
		StageDHCP, "offer-ignored",
		func(p *piState) bool { return p.facts.offers > 0 },
		says("it asked %v times, was offered its address %v times, and asked for no file",
			func(p *piState) any { return p.facts.discovers }, func(p *piState) any { return p.facts.offers }),
		"power-cycle it (c); a Pi 3 gives up after five tries",
	},
	{
		StageDHCP, "no-offer",
		always,
		says("it asked %v times and no OFFER was sent", func(p *piState) any { return p.facts.discovers }),
		"it may be marked broken or have no root; see the service's log",
	},
	{
		StageFirmware, "eeprom-hang",
		func(p *piState) bool {
			return p.facts.brokeOff() && !p.facts.kernelTry && (p.Model == Model4B || p.Model == Model5)
		},
		says("its boot loader stopped in the middle of %v, as it does after a TFTP time-out", func(p *piState) any { return p.facts.fileAsked }),
		"power-cycle it (c): it cannot start again by itself (rpi-eeprom issue 687)",
	},
	{
		StageFirmware, "tftp-stall",
		func(p *piState) bool { return p.facts.brokeOff() },
		says("it stopped in the middle of %v", func(p *piState) any { return p.facts.fileAsked }),
		"power-cycle it (c); if it stops there again, check cable and PoE voltage",
	},
	{
		StageFirmware, "missing-file",
		func(p *piState) bool { return p.facts.missing != "" && p.facts.missing == p.facts.fileAsked },
		says("it stopped after %v, which is not in its boot folder", func(p *piState) any { return p.facts.missing }),
		"reimage it (i), or put the file back in its /boot/firmware",
	},
	{
		StageFirmware, "firmware-hang",
		always,
		says("it asked for nothing more after %v (%v files served)", func(p *piState) any { return p.facts.fileAsked },
			func(p *piState) any { return p.facts.files }),
		"power-cycle it (c)",
	},
	{
		StageKernel, "nfs-refused",
		func(p *piState) bool { return p.facts.nfsRefused != "" },
		says("its root was refused: %v", func(p *piState) any { return p.facts.nfsRefused }),
		"check nfsroot= in its cmdline.txt against its export",
	},
	{
		StageKernel, "exam-hang",
		func(p *piState) bool { return p.Exam && p.facts.examined },
		says("its burn-in began, and it was not heard of again"),
		"swap the board; if it is a good one, look at its power and cooling",
	},
	{
		StageKernel, "exam-silent",
		inExam,
		says("the examination system was served (%v), but it did not report", func(p *piState) any { return p.facts.kernel }),
		"look at its console; if it is the network's driver that is missing, examine with another image",
	},
	{
		StageKernel, "rescue-hang",
		inRescue,
		says("the small system was served (%v), but its SSH does not answer: %v", func(p *piState) any { return p.facts.kernel },
			func(p *piState) any { return p.facts.sshErr }),
		"power-cycle it (c); :unrescue boots its own root again",
	},
	{
		StageKernel, "kernel-hang",
		always,
		says("%v was served whole, but it never mounted its root", func(p *piState) any { return p.facts.kernel }),
		"check the kernel and device tree in its root; reimage it (i)",
	},
	{
		// The connection that was taken for the root's only asked to mount.
		StageRoot, "nfs-refused",
		func(p *piState) bool {
			return !p.lost.IsZero() && p.facts.refusedAt.After(p.lost.Add(-2*time.Second))
		},
		says("its root was refused: %v", func(p *piState) any { return p.facts.nfsRefused }),
		"check nfsroot= in its cmdline.txt against its export",
	},
	{
		StageRoot, "root-lost",
		func(p *piState) bool { return !p.lost.IsZero() },
		says("its root connection is gone since %v", func(p *piState) any { return p.lost.Format(time.TimeOnly) }),
		"power-cycle it (c); look at the cable's error counters",
	},
	{
		StageRoot, "rescue-hang",
		inRescue,
		says("the small system has its root mounted, but its SSH does not answer: %v", func(p *piState) any { return p.facts.sshErr }),
		"power-cycle it (c); :unrescue boots its own root again",
	},
	{
		StageRoot, "no-ssh",
		always,
		says("its root is mounted, but SSH does not answer: %v", func(p *piState) any { return p.facts.sshErr }),
		"look into its root: sshd, its host keys, its journal",
	},
}

// brokeOff tells whether the last file asked for was not sent whole.
func (f *facts) brokeOff() bool { return f.open || f.failed != "" && f.failed == f.fileAsked }

func bootLoop(p *piState, from Stage) Diagnosis {
	return Diagnosis{
		At: from, Fault: FaultBootLoop,
		Cause: fmt.Sprintf("it has restarted by itself %d times, last from %s", p.restarts, from),
		Hint:  "check PoE voltage and cable (brown-out), then its kernel",
	}
}

// checkLimits stalls every Pi that made no progress for its stage's limit.
func (r *rack) checkLimits(now time.Time) {
	for _, p := range r.order {
		r.checkWatch(p, now)
		stage, since := p.stage, p.progress
		if stage == StageUp || stage == StageRoot {
			if p.lost.IsZero() && stage == StageUp {
				continue
			}
			if !p.lost.IsZero() {
				stage, since = StageRoot, p.lost
			}
		}
		if stage == StageOff {
			r.checkOff(p, now)
			continue
		}
		if !stage.Booting() {
			continue
		}
		if stage == StageDHCP {
			since = p.since // a boot loader that ignores its offers asks for ever
		}
		if limit := r.limit(p, stage); limit > 0 && now.Sub(since) >= limit {
			r.stall(p, now, diagnose(p, stage))
		}
	}
}

// limit is how long a Pi may be in a stage. The small system of a rescue may
// never mount the root, broken as that may be: SSH is then all there is to wait
// for.
func (r *rack) limit(p *piState, s Stage) time.Duration {
	limits := &r.e.cfg.Limits
	if s == StagePower && p.interrupted() {
		return limits[s] / interruptedPart
	}
	if s == StageKernel && p.Rescue && limits[StageKernel] > 0 {
		return limits[StageKernel] + limits[StageRoot]
	}
	return limits[s]
}

// interruptedPart is the part of the limit that a Pi may be silent whose boot was
// interrupted by a restart of the service. A boot ROM asks again within seconds,
// or has given up for good; its job starts it once more, and one that was on its
// way after all has lost nothing but that time.
const interruptedPart = 5

// interrupted tells whether nothing was heard of the Pi since a restart of the
// service that came into the boot of its job.
func (p *piState) interrupted() bool {
	j := p.job
	return j != nil && j.resumed && p.running && j.here() == p && j.Steps[min(j.Step, len(j.Steps)-1)].Name == stepBoot
}

// checkOff stalls a Pi that should be on and is off, with no job that would
// see to it: somebody switched its port off elsewhere, or a job ended early.
func (r *rack) checkOff(p *piState, now time.Time) {
	limit := r.e.cfg.Limits[StageOff]
	if limit <= 0 || !p.Power || !p.portSeen || p.job != nil || p.Life == LifeBroken || p.Life == LifeNew || p.sw.silent() {
		return
	}
	if p.offSince.IsZero() {
		p.offSince = now
	}
	if now.Sub(p.offSince) >= limit {
		p.offSince = time.Time{}
		r.stall(p, now, diagnose(p, StageOff))
	}
}

// checkWatch ends a boot step, gone on with after a restart, of which the
// switch does not tell whether the power is on: no stage's limit runs yet.
func (r *rack) checkWatch(p *piState, now time.Time) {
	j := p.job
	if j == nil || j.watch == nil || j.here() != p || p.portSeen || p.stage != StageOff {
		return
	}
	if limit := r.e.cfg.Limits[StagePower]; limit > 0 && now.Sub(j.Steps[j.Step].Started) >= limit {
		j.watch <- fmt.Errorf("the switch has not told for %s whether %s is on", limit, p.Segment.Port)
		j.watch = nil
	}
}
