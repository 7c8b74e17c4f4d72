package tui

import (
	"slices"
	"strconv"
	"time"

	"picloud/engine"
)

// column is one column of the table. Its cell is ASCII made by the console or
// a string of the snapshot.
type column struct {
	title string
	width int
	right bool
	gap   int  // columns before it
	flex  bool // takes what is left over
	note  bool // gives way to what is going on with the Pi
	rank  int  // the higher, the sooner it goes when there is no room
	wide  int  // 0 in both sets, 1 only in the usual one, 2 only in the wide one
	ascii func(m *Model, b []byte, p *engine.PiView) []byte
	text  func(p *engine.PiView) string
	style func(p *engine.PiView) style
}

// placed is a column with its place on the screen.
type placed struct {
	*column
	x, width int
}

// columns is the table, from left to right. It is never written.
var columns = [...]column{
	{title: "PI", rank: 0, text: func(p *engine.PiView) string { return string(p.Name) }},
	{title: "PORT", rank: 1, gap: 1, ascii: func(_ *Model, b []byte, p *engine.PiView) []byte { return appendPort(b, p.Port) }},
	{title: "PWR", width: 4, right: true, gap: 1, rank: 5, text: func(p *engine.PiView) string { return p.Power.String() }},
	{title: "W", width: 4, right: true, gap: 1, rank: 7, ascii: func(_ *Model, b []byte, p *engine.PiView) []byte { return wattsCell(b, p) }},
	{title: "STAGE", width: 9, gap: 2, rank: 2, ascii: stageCell,
		style: func(p *engine.PiView) style { return stageStyle(p.Stage) }},
	{title: "AGE", width: 4, right: true, gap: 1, rank: 3, ascii: func(m *Model, b []byte, p *engine.PiView) []byte { return m.ageCell(b, p.Since) }},
	{title: useTitle, width: 4, right: true, gap: 1, rank: 15, ascii: (*Model).useCell, style: useStyle},
	{title: "ROOT", width: 12, gap: 2, flex: true, note: true, rank: 9, wide: 1, text: func(p *engine.PiView) string { return p.Root }},
	{title: "IMAGE", width: 10, gap: 1, flex: true, note: true, rank: 8, wide: 1, text: func(p *engine.PiView) string { return p.Image }},
	{title: "OWNER", width: 7, gap: 1, flex: true, rank: 6, wide: 1, text: owner},
	{title: "LIFE", width: 9, gap: 2, rank: 9, wide: 2, text: func(p *engine.PiView) string { return string(p.Life) }},
	{title: "MODEL", width: 5, gap: 1, rank: 10, wide: 2, text: func(p *engine.PiView) string { return string(p.Model) }},
	{title: "MAC", width: 17, gap: 1, rank: 11, wide: 2, ascii: func(_ *Model, b []byte, p *engine.PiView) []byte { return appendMAC(b, p.MAC) }},
	{title: "SERIAL", width: 8, gap: 1, rank: 14, wide: 2, ascii: func(_ *Model, b []byte, p *engine.PiView) []byte { return appendSerial(b, p.Serial) }},
	{title: "ADDRESS", width: 15, gap: 1, rank: 12, wide: 2, ascii: func(_ *Model, b []byte, p *engine.PiView) []byte { return appendAddr(b, p) }},
	{title: "SERVER", width: 12, gap: 1, flex: true, rank: 13, wide: 2, text: func(p *engine.PiView) string { return p.Server }},
}

// useTitle is the column of how full the roots are. It is only there when that
// is known of one.
const useTitle = "USE"

// useStyle is for roots that need a look.
func useStyle(p *engine.PiView) style {
	if isFull(p) {
		return warn
	}
	return plain
}

// gutter is the cursor's column and the marks'.
const gutter = 2

// fitColumns picks the columns that fit and places them.
func (m *Model) fitColumns(width int) []placed {
	var cols []placed
	total := gutter
	for i := range columns {
		col := &columns[i]
		if col.wide == 1 && m.wide || col.wide == 2 && !m.wide || col.title == useTitle && !m.anyUse() {
			continue
		}
		w := col.width
		switch col.title {
		case "PI":
			w = m.nameW
		case "PORT":
			w = m.portW
		}
		cols = append(cols, placed{col, 0, w})
		total += col.gap + w
	}
	for total > width && len(cols) > 1 {
		worst := 0
		for i := range cols {
			if cols[i].rank > cols[worst].rank {
				worst = i
			}
		}
		total -= cols[worst].gap + cols[worst].width
		cols = append(cols[:worst], cols[worst+1:]...)
	}
	spread(cols, width-total)
	x := gutter
	for i := range cols {
		x += cols[i].gap
		cols[i].x = x
		x += cols[i].width
	}
	return cols
}

// anyUse tells whether the use of any root is known.
func (m *Model) anyUse() bool {
	return slices.ContainsFunc(m.shown.Pis, func(p engine.PiView) bool { return !p.RootVolume.UseAt.IsZero() })
}

// spread gives the columns that can use it what is left over.
func spread(cols []placed, room int) {
	n := 0
	for i := range cols {
		if cols[i].flex {
			n++
		}
	}
	for i := range cols {
		if cols[i].flex && room > 0 {
			more := min(room/n, 12)
			cols[i].width += more
			room -= more
			n--
		}
	}
}

func owner(p *engine.PiView) string {
	if p.Owner == "" {
		return p.Server
	}
	return p.Owner
}

func appendPort(b []byte, p engine.PortID) []byte {
	if !isPlain(p.Switch) {
		b = append(b, clean(p.Switch, true)...)
	} else {
		b = append(b, p.Switch...)
	}
	return strconv.AppendInt(append(b, '/'), int64(p.Port), 10)
}

func wattsCell(b []byte, p *engine.PiView) []byte {
	switch {
	case p.Power == engine.PowerUnknown:
		return append(b, '?')
	case !p.HasWatts:
		return append(b, '-')
	}
	return appendWatts(b, p.Milliwatts)
}

// appendStage writes the stage; a stalled Pi shows where it stalled.
func appendStage(b []byte, p *engine.PiView) []byte {
	if p.Life == engine.LifeBroken && !p.Stage.Booting() {
		return append(b, "broken"...)
	}
	switch p.Stage {
	case engine.StageStalled:
		return append(append(b, p.LastStage.String()...), '!')
	case engine.StageUnknown:
		return append(append(b, p.LastStage.String()...), '?')
	}
	return append(b, p.Stage.String()...)
}

// These stand after the stage of a Pi that is in rescue, or examined.
const (
	rescueMark = " R"
	examMark   = " E"
)

// stageCell is the stage, with a mark for what it boots instead of its root.
func stageCell(_ *Model, b []byte, p *engine.PiView) []byte {
	b = appendStage(b, p)
	switch {
	case p.Exam:
		b = append(b, examMark...)
	case p.Rescue:
		b = append(b, rescueMark...)
	}
	return b
}

func (m *Model) ageCell(b []byte, since time.Time) []byte {
	if since.IsZero() {
		return append(b, '-')
	}
	return appendAge(b, m.stamp().Sub(since))
}

// stamp is the time that ages are counted to, in full seconds: a frozen display
// keeps the ages it had.
func (m *Model) stamp() time.Time {
	if !m.frozenAt.IsZero() {
		return m.frozenAt.Truncate(time.Second)
	}
	return m.now.Truncate(time.Second)
}

const hexDigits = "0123456789abcdef"

func appendMAC(b []byte, mac engine.MAC) []byte {
	if mac == (engine.MAC{}) {
		return append(b, '-')
	}
	for i, v := range mac {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, hexDigits[v>>4], hexDigits[v&15])
	}
	return b
}

func appendSerial(b []byte, s uint32) []byte {
	if s == 0 {
		return append(b, '-')
	}
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[s>>shift&15])
	}
	return b
}

func appendAddr(b []byte, p *engine.PiView) []byte {
	if !p.Addr.IsValid() {
		return append(b, '-')
	}
	return p.Addr.WithZone("").AppendTo(b)
}

func (m *Model) drawTableHead(c *canvas) {
	c.set(strong)
	for _, col := range m.lay.cols {
		c.padTo(col.x)
		c.cell(col.title, col.width, col.right)
	}
}

// drawRow draws one Pi.
func (m *Model) drawRow(c *canvas, row int) {
	p := &m.shown.Pis[m.rows[row]]
	selected := row == m.row
	base := plain
	if selected {
		base = strong
		if m.place() == inTable {
			base = chosen
		}
	}
	c.set(base)
	c.char(pick(selected, '>', ' '))
	c.char(pick(m.marks[p.Name] || m.inRange(row), '*', ' '))
	st, note := m.note(c.noted[:0], p)
	c.noted = note
	noted := false
	for i, col := range m.lay.cols {
		if len(note) > 0 && m.takesNote(i) {
			if !noted {
				c.padTo(col.x)
				if base != chosen || st == ask {
					c.set(st)
				}
				c.bytesCell(note, m.noteEnd(i)-col.x, false)
				c.set(base)
				noted = true
			}
			continue
		}
		c.padTo(col.x)
		if col.style != nil && base != chosen {
			c.set(col.style(p))
		}
		if col.text != nil {
			c.cell(col.text(p), col.width, col.right)
		} else {
			m.drawBytes(c, col, p)
		}
		if base != chosen {
			c.set(base)
		}
	}
	if base == chosen {
		c.padTo(c.limit)
	}
}

func (m *Model) drawBytes(c *canvas, col placed, p *engine.PiView) {
	c.scratch = col.ascii(m, c.scratch[:0], p)
	c.bytesCell(c.scratch, col.width, col.right)
}

func pick(yes bool, a, b byte) byte {
	if yes {
		return a
	}
	return b
}

// takesNote tells whether a column gives way to a note: ROOT and IMAGE with USE
// before them, or stage and age where those are not shown.
func (m *Model) takesNote(i int) bool {
	cols := m.lay.cols
	if cols[i].note || cols[i].title == useTitle && i+1 < len(cols) && cols[i+1].note {
		return true
	}
	for j := range cols {
		if cols[j].note {
			return false
		}
	}
	return cols[i].title == "STAGE" || cols[i].title == "AGE"
}

// noteEnd is where the columns end that give way from column i on.
func (m *Model) noteEnd(i int) int {
	end := 0
	for ; i < len(m.lay.cols) && m.takesNote(i); i++ {
		end = m.lay.cols[i].x + m.lay.cols[i].width
	}
	return end
}

// note is what is going on with a Pi: a guard that runs, a job, or a life that
// will not stay.
func (m *Model) note(b []byte, p *engine.PiView) (style, []byte) {
	if q := m.pending; q != nil && q.has(p.Name) {
		b = append(b, q.verb.Name...)
		switch q.guard.Kind {
		case engine.GuardCountdown:
			b = append(b, " in "...)
			return ask, append(strconv.AppendInt(b, int64(q.left(m.now)), 10), 's')
		case engine.GuardYes:
			return ask, append(b, "? y"...)
		}
		return ask, append(b, "? name"...)
	}
	if q := m.pending; q != nil && q.touches(p.Name) {
		return ask, append(append(append(b, q.verb.Name...), " to here from "...), clean(string(q.targets[0].Pi), true)...)
	}
	if j := p.Job; j != nil {
		return busy, appendJob(b, j, p.Name)
	}
	if passing[p.Life] {
		return busy, append(b, p.Life...)
	}
	return plain, b
}

// passing are the lives that a Pi goes through on its way to another.
var passing = map[engine.Life]bool{engine.LifeAllocated: true, engine.LifeDeploying: true, engine.LifeReleasing: true}

// left is the guard's remaining time in seconds, as a person counts down.
func (p *pending) left(now time.Time) int {
	return int((p.deadline.Sub(now) + time.Second - 1) / time.Second)
}

// appendJob writes "reimage 3/5 clone 71%", for one of the job's Pis: a move's
// other one is named.
func appendJob(b []byte, j *engine.JobView, at engine.PiName) []byte {
	b = append(b, clean(j.Verb, true)...)
	switch j.To {
	case "":
	case at:
		b = append(append(b, " from "...), clean(string(j.Pi), true)...)
	default:
		b = append(append(b, " to "...), clean(string(j.To), true)...)
	}
	if j.State == engine.JobQueued {
		return append(b, " waits its turn"...)
	}
	return appendStep(append(b, ' '), j)
}
