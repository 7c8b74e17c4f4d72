package engine

// VerbName names a verb on every face: key, ":" line, CLI.
type VerbName string

// The verbs on Pis.
const (
	VerbOn      VerbName = "on"
	VerbOff     VerbName = "off"
	VerbCycle   VerbName = "cycle"
	VerbReimage VerbName = "reimage"
	VerbUndo    VerbName = "undo"
	VerbBroken  VerbName = "broken"
	VerbReady   VerbName = "ready"
	VerbAdopt   VerbName = "adopt"
	VerbCancel  VerbName = "cancel"
	VerbMove    VerbName = "move"
	VerbResize  VerbName = "resize"
	VerbRescue  VerbName = "rescue"
	// VerbUnrescue is rescue's opposite.
	VerbUnrescue VerbName = "unrescue"
	// VerbExamine is what new boards and those given back go through.
	VerbExamine VerbName = "examine"
)

// Verb is one row of the table that the keys, the footer, the help, the ":"
// line and the CLI are drawn from.
type Verb struct {
	Name   VerbName
	Key    string // console key, "" = only by its name
	Args   string // what may follow the targets on a ":" line
	Help   string // one line
	Loses  string // what an act takes away, for the count-down line
	Role   Role   // who may
	Guards Guards // defaults; the configuration may set others
	// Refuse says why the verb cannot be used on this Pi now, "" = it can.
	Refuse func(p *PiView) string
}

// Verbs returns the table, in the order that help shows it.
func Verbs() []Verb { return append([]Verb(nil), verbTable...) }

// FindVerb finds a verb by its name.
func FindVerb(name VerbName) (Verb, bool) {
	for _, v := range verbTable {
		if v.Name == name {
			return v, true
		}
	}
	return Verb{}, false
}

var verbTable = []Verb{
	{
		Name: VerbCycle, Key: "c", Role: RoleOperator,
		Help:   "power-cycle: off, hold, on, then watch it boot",
		Loses:  "what it has not written",
		Guards: Guards{Free: Guard{GuardCountdown, cycleDelay}, Rented: Guard{Kind: GuardYes}},
		Refuse: all(refuseBusy, refuseSilentSwitch, refuseBroken),
	},
	{
		Name: VerbOn, Key: "o", Role: RoleOperator,
		Help:   "power on and watch it boot",
		Refuse: all(refuseBusy, refuseSilentSwitch, refuseBroken, refuseOn),
	},
	{
		Name: VerbOff, Key: "O", Role: RoleOperator,
		Help:   "power off",
		Loses:  "what it has not written",
		Guards: Guards{Free: Guard{GuardCountdown, cycleDelay}, Rented: Guard{Kind: GuardYes}},
		Refuse: all(refuseBusy, refuseSilentSwitch, refuseOff),
	},
	{
		Name: VerbReimage, Key: "i", Args: "[IMAGE]", Role: RoleOperator,
		Help:   "give it a fresh root; undo brings the present one back",
		Loses:  "its root (kept: undo brings it back)",
		Guards: Guards{Free: Guard{GuardCountdown, reimageDelay}, Rented: Guard{Kind: GuardName}},
		Refuse: all(refuseBusy, refuseSilentSwitch, refuseBroken),
	},
	{
		Name: VerbUndo, Key: "u", Role: RoleOperator,
		Help:   "bring back the root from before the last reimage",
		Loses:  "nothing: the present root is kept in its place",
		Guards: Guards{Free: Guard{GuardCountdown, reimageDelay}, Rented: Guard{Kind: GuardName}},
		Refuse: all(refuseBusy, refuseSilentSwitch, refuseBroken, refuseNoFormer),
	},
	{
		Name: VerbMove, Key: "m", Args: "[PI]", Role: RoleOperator,
		Help:   "move its server, with root and addresses, to another Pi or a spare",
		Loses:  "what it has not written, and this Pi",
		Guards: Guards{Free: Guard{Kind: GuardName}, Rented: Guard{Kind: GuardName}},
		Refuse: all(refuseBusy, refuseFree, refuseNoRoot, refuseSilentSwitch),
	},
	{
		Name: VerbResize, Key: "z", Args: "SIZE", Role: RoleOperator,
		Help:   "let its root grow to SIZE while it runs; it cannot shrink again",
		Loses:  "nothing, but a root cannot shrink again",
		Guards: Guards{Free: Guard{GuardCountdown, cycleDelay}, Rented: Guard{Kind: GuardYes}},
		Refuse: all(refuseBusy, refuseNoRoot),
	},
	{
		Name: VerbRescue, Key: "R", Role: RoleOperator,
		Help:   "boot a small system in memory with SSH and the root mounted",
		Loses:  "what it has not written",
		Guards: Guards{Free: Guard{GuardCountdown, cycleDelay}, Rented: Guard{Kind: GuardYes}},
		Refuse: all(refuseBusy, refuseSilentSwitch, refuseBroken, refuseNoRoot, refuseRescue),
	},
	{
		Name: VerbUnrescue, Role: RoleOperator,
		Help:   "boot its own root again after a rescue",
		Loses:  "what is in the memory of the small system",
		Guards: Guards{Free: Guard{GuardCountdown, cycleDelay}, Rented: Guard{Kind: GuardYes}},
		Refuse: all(refuseBusy, refuseSilentSwitch, refuseBroken, refuseNoRoot, refuseNoRescue),
	},
	{
		Name: VerbExamine, Role: RoleOperator,
		Help:   "examine the board: a burn-in in memory, then ready, or broken and why",
		Loses:  "what it has not written",
		Guards: Guards{Free: Guard{GuardCountdown, cycleDelay}, Rented: Guard{Kind: GuardName}},
		Refuse: all(refuseBusy, refuseRented, refuseNoBoard, refuseSilentSwitch),
	},
	{
		Name: VerbCancel, Key: "x", Role: RoleOperator,
		Help:   "cancel its job, now or after the step that runs",
		Refuse: refuseNoJob,
	},
	{
		Name: VerbBroken, Args: "[REASON]", Role: RoleOperator,
		Help:   "mark as broken: power off, and nobody gets it",
		Loses:  "its power",
		Guards: Guards{Free: Guard{GuardCountdown, cycleDelay}, Rented: Guard{Kind: GuardName}},
		Refuse: all(refuseBusy, refuseBroken),
	},
	{
		Name: VerbReady, Role: RoleOperator,
		Help:   "mark a broken or new Pi as ready for use",
		Refuse: all(refuseBusy, refuseNotBroken),
	},
	{
		Name: VerbAdopt, Role: RoleOperator,
		Help:   "take the other board heard on its segment as this Pi",
		Guards: Guards{Free: Guard{GuardCountdown, cycleDelay}, Rented: Guard{Kind: GuardName}},
		Refuse: all(refuseBusy, refuseNothingSeen),
	},
}
