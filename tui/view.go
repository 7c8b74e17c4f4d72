package tui

import (
	"strconv"
	"time"

	tea "charm.land/bubbletea/v2"

	"picloud/engine"
)

// View draws the screen. It copies what refresh worked out and changes
// nothing but its own buffer.
func (m *Model) View() tea.View {
	c := &m.canvas
	c.reset(m.lay.w, m.lay.h)
	switch {
	case m.lay.w < 1 || m.lay.h < 1:
	case m.lay.kind == layTiny:
		m.drawTiny(c)
	default:
		m.draw(c)
	}
	v := tea.NewView(string(c.buf))
	v.AltScreen = true
	v.ReportFocus = true
	v.WindowTitle = m.title()
	if m.mouse {
		v.MouseMode = tea.MouseModeCellMotion
	}
	if m.cursor.x >= 0 && m.lay.kind != layTiny && m.cursor.x < m.lay.w && m.cursor.y < m.lay.panelRows {
		v.Cursor = tea.NewCursor(m.cursor.x, m.lay.panelTop+m.cursor.y)
		v.Cursor.Blink = false
	}
	return v
}

// title is the terminal's title. It tells failures only: counts that change
// with every Pi would cost more on the wire than the Pi itself.
func (m *Model) title() string {
	if n := m.shown.Counts.Stalled; n > 0 {
		return m.clean("picloud " + m.shown.Rack + ": " + strconv.Itoa(n) + " FAIL")
	}
	return m.clean("picloud " + m.shown.Rack)
}

func (m *Model) drawTiny(c *canvas) {
	c.scratch = append(c.scratch[:0], "terminal is "...)
	c.scratch = strconv.AppendInt(c.scratch, int64(m.lay.w), 10)
	c.scratch = append(c.scratch, 'x')
	c.scratch = strconv.AppendInt(c.scratch, int64(m.lay.h), 10)
	c.scratch = append(c.scratch, ", needs 40x10"...)
	c.bytesCell(c.scratch, len(c.scratch), false)
	c.set(plain)
}

// draw draws line by line: the body with the pane beside it, the panel, the
// keys.
func (m *Model) draw(c *canvas) {
	l := &m.lay
	m.drawCounts(c)
	c.end()
	for y := 1; y < l.panelTop; y++ {
		if l.pane > 0 && m.detail == nil && m.help == nil {
			c.limit = l.left
			m.drawBody(c, y)
			c.set(plain)
			c.limit = c.w
			c.padTo(l.left)
			m.drawPane(c, y-1)
		} else {
			m.drawBody(c, y)
		}
		c.end()
	}
	for i := range l.panelRows {
		if i < len(m.panel) {
			c.line(m.panel[i])
		}
		c.end()
	}
	c.line(m.hints)
	c.set(plain)
}

func (m *Model) drawPane(c *canvas, i int) {
	c.set(quiet)
	c.buf = append(c.buf, m.canvas.g.bar...)
	c.x++
	if i < len(m.pane) {
		c.line(m.pane[i])
	}
}

// drawBody draws the part of a line that depends on the view.
func (m *Model) drawBody(c *canvas, y int) {
	switch {
	case m.help != nil:
		m.drawPage(c, y, "help", m.help.lines, m.help.top)
	case m.detail != nil:
		m.drawPage(c, y, string(m.detail.pi)+"  "+m.portOf(m.detail.pi), m.detail.lines, m.detail.top)
	case m.view == viewJobs:
		m.drawJobs(c, y)
	case m.view == viewLog:
		m.drawLogView(c, y)
	case m.view == viewAudit:
		m.drawAudit(c, y)
	case m.view == viewRack && m.lay.kind == layFull:
		m.drawRack(c, y)
	default:
		m.drawTable(c, y)
	}
}

func (m *Model) portOf(n engine.PiName) string {
	if p := m.pi(n); p != nil {
		return p.Port.String()
	}
	return ""
}

// drawPage draws a line of a page under its title.
func (m *Model) drawPage(c *canvas, y int, title string, lines []textLine, top int) {
	rows := m.lay.bodyRows - 1
	if y == 1 {
		right := ""
		if len(lines) > rows {
			right = strconv.Itoa(min(top+rows, len(lines))) + " of " + strconv.Itoa(len(lines)) + " lines"
		}
		c.rule(strong, title, right)
		return
	}
	if i := top + y - 2; i < len(lines) {
		c.line(lines[i])
	}
}

func (m *Model) drawRack(c *canvas, y int) {
	l := &m.lay
	switch i := y - 2; {
	case y == 1:
		m.drawFaceHead(c)
	case i < 2*l.faceBlocks:
		if b := m.face + i/2; b < len(m.blocks) {
			m.drawFace(c, b, i%2)
		}
	case i == 2*l.faceBlocks:
		m.drawLegend(c)
	case y == l.tableRule:
		m.drawTableRule(c)
	case y == l.tableRule+1:
		m.drawTableHead(c)
	case y < l.tableTop+l.tableRows:
		m.drawTableRow(c, y-l.tableTop)
	case y == l.logRule:
		c.rule(plain, "log", "")
	case l.logRule >= 0 && y >= l.logTop:
		if i := m.log.top + y - l.logTop; i < len(m.log.lines) {
			m.drawLog(c, &m.log.lines[i], i, time.TimeOnly, logSays(&m.log.lines[i]))
		}
	}
}

func (m *Model) drawTable(c *canvas, y int) {
	if y == 1 {
		m.drawTableHead(c)
		return
	}
	m.drawTableRow(c, y-2)
}

func (m *Model) drawTableRow(c *canvas, i int) {
	if row := m.top + i; row < len(m.rows) {
		m.drawRow(c, row)
	} else if i == 0 && len(m.rows) == 0 {
		c.put(quiet, "  no Pi passes the filter; esc drops it")
	}
}

func (m *Model) drawJobs(c *canvas, y int) {
	switch i := m.jobs.top + y - 2; {
	case y == 1:
		m.drawJobHead(c)
	case i < len(m.shown.Jobs):
		m.drawJob(c, i)
	case i == 0:
		c.put(quiet, "  no job runs, and none ended lately")
	}
}

func (m *Model) drawLogView(c *canvas, y int) {
	if y == 1 {
		right := plural(len(m.log.lines), "line", "lines")
		switch {
		case m.log.err != "":
			right = "older lines cannot be read"
		case m.log.loading:
			right += ", loading"
		case m.log.end:
			right += ", all"
		}
		c.rule(strong, "log, newest first", right)
		return
	}
	if i := y - 2; i < len(m.log.rows) {
		m.drawLogRow(c, m.log.rows[i])
	}
}

// drawCounts draws the first line: all that a person across the aisle needs.
// On a narrow screen the failures come first, since the end is cut off.
func (m *Model) drawCounts(c *canvas) {
	s := m.shown
	if c.w < fullWidth {
		c.put(strong, " ")
		c.textMax(s.Rack, 8)
		m.drawFailures(c)
		c.put(plain, " ")
	} else {
		// The name goes before the disk does: the terminal's title has it too.
		if s.SpaceAt.IsZero() || c.w >= nameWidth {
			c.put(strong, " picloud ")
		}
		c.put(strong, " ")
		c.set(plain)
		c.textMax(s.Rack, 20)
		c.text("  ")
		m.count(c, plain, s.Counts.Total, " Pis:")
		c.char(' ')
	}
	m.count(c, plain, s.Counts.Up, " up ")
	m.count(c, plain, s.Counts.Booting, " boot ")
	m.count(c, plain, s.Counts.Off, " off")
	if c.w >= fullWidth {
		m.drawFailures(c)
	}
	nearlyFull := s.Space.Pool.NearlyFull
	if nearlyFull {
		m.drawDisk(c)
	}
	m.drawPoE(c)
	if !nearlyFull {
		m.drawDisk(c)
	}
	m.drawClock(c)
}

// nameWidth is from where on there is room for more than the needed: the
// program's name beside all counts.
const nameWidth = 90

func (m *Model) drawFailures(c *canvas) {
	c.set(plain)
	if n := m.shown.Counts.Stalled; n > 0 {
		c.char(' ')
		m.count(c, alarm, n, " FAIL")
	}
	if n := m.shown.Counts.Unknown; n > 0 {
		c.char(' ')
		m.count(c, warn, n, " ?")
	}
}

func (m *Model) count(c *canvas, st style, n int, word string) {
	c.set(st)
	c.scratch = strconv.AppendInt(c.scratch[:0], int64(n), 10)
	c.bytesCell(c.scratch, len(c.scratch), false)
	c.text(word)
	c.set(plain)
}

// drawPoE draws the power used of the budget. A "?" after it: not every switch
// answered, so that it is more.
func (m *Model) drawPoE(c *canvas) {
	b := append(c.scratch[:0], "  PoE "...)
	b = strconv.AppendInt(b, int64(m.shown.PoE.Milliwatts+500)/1000, 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(m.shown.PoE.BudgetWatts), 10)
	b = append(b, 'W')
	if !m.shown.PoE.Complete {
		b = append(b, '?')
	}
	c.scratch = b
	if c.x+len(b)+m.clockWidth() <= c.limit {
		c.bytesCell(b, len(b), false)
	}
}

// clockWidth is what drawClock needs, with a space on each side.
func (m *Model) clockWidth() int {
	if !m.frozenAt.IsZero() {
		return len(" FROZEN 999d ") + 2
	}
	return len("15:04") + 2
}

// drawClock draws the time on the right, or since when the display is frozen.
func (m *Model) drawClock(c *canvas) {
	st := plain
	b := m.now.AppendFormat(c.scratch[:0], "15:04")
	if !m.frozenAt.IsZero() {
		st = ask
		b = append(c.scratch[:0], " FROZEN "...)
		b = append(appendAge(b, m.now.Sub(m.frozenAt)), ' ')
	}
	c.scratch = b
	if c.x+len(b)+2 > c.limit {
		return
	}
	c.padTo(c.limit - len(b) - 1)
	c.set(st)
	c.bytesCell(b, len(b), false)
}

// legendOrder is the order in which stages are explained.
var legendOrder = [...]engine.Stage{engine.StageUp, engine.StagePower, engine.StageDHCP, engine.StageFirmware,
	engine.StageKernel, engine.StageRoot, engine.StageOff, engine.StageStalled, engine.StageUnknown}

// drawLegend explains the marks, or tells what is wrong with the service.
func (m *Model) drawLegend(c *canvas) {
	if len(m.shown.Warnings) > 0 {
		c.line(m.warningLine())
		return
	}
	for _, s := range legendOrder {
		c.set(plain)
		c.char(' ')
		c.set(stageStyle(s))
		c.char(s.Mark())
		c.put(quiet, " ")
		c.text(s.String())
	}
	c.put(plain, " ")
	c.put(strong, "#")
	c.put(quiet, " broken")
}

// drawTableRule says what the table shows.
func (m *Model) drawTableRule(c *canvas) {
	left := append(m.label[:0], "Pis"...)
	if m.faults {
		left = append(left, ", only faults"...)
	}
	if m.filterText != "" {
		left = append(append(left, ", filter: "...), m.clean(m.filterText)...)
	}
	if m.faults || m.filterText != "" {
		left = strconv.AppendInt(append(left, " ("...), int64(len(m.rows)), 10)
		left = strconv.AppendInt(append(left, " of "...), int64(len(m.shown.Pis)), 10)
		left = append(left, ')')
	}
	if m.order != 0 || m.reversed {
		left = append(append(left, ", by "...), orderings[m.order].name...)
		if m.reversed {
			left = append(left, " backwards"...)
		}
	}
	m.label = left
	right := ""
	switch {
	case m.anchor != "":
		right = "marking a range: v ends it"
	case len(m.marks) > 0:
		right = strconv.Itoa(len(m.marks)) + " marked"
	}
	c.rule(plain, string(left), right)
}
