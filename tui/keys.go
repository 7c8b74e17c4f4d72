package tui

import (
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"picloud/engine"
)

// binding is one row of the console's own keys. The footer, the help and what
// a key does are all drawn from it; verbs' keys come from engine.Verbs.
type binding struct {
	keys  []string
	label string // as the help shows the keys
	help  string
	hint  string // in the footer; "" = not there
	first int    // of the footer's hints, the lower the longer they stay
	where place
	do    func(m *Model) tea.Cmd
}

// bindings makes the table of the console's own keys.
func bindings() []binding {
	move := func(d int) func(*Model) tea.Cmd { return func(m *Model) tea.Cmd { return m.move(d) } }
	side := func(d int) func(*Model) tea.Cmd { return func(m *Model) tea.Cmd { m.sideways(d); return nil } }
	page := func(d int) func(*Model) tea.Cmd {
		return func(m *Model) tea.Cmd { return m.move(d * m.pageRows()) }
	}
	goTo := func(v view) func(*Model) tea.Cmd { return func(m *Model) tea.Cmd { m.goTo(v); return nil } }
	do := func(f func(*Model)) func(*Model) tea.Cmd { return func(m *Model) tea.Cmd { f(m); return nil } }
	return []binding{
		{[]string{"up", "k"}, "up k", "move up", "", 0, inAll, move(-1)},
		{[]string{"down", "j"}, "down j", "move down", "", 0, inAll, move(1)},
		{[]string{"left", "h"}, "left h", "next Pi to the left", "", 0, inFace, side(-1)},
		{[]string{"right", "l"}, "right l", "next Pi to the right", "", 0, inFace, side(1)},
		{[]string{"pgup", "ctrl+b"}, "PgUp", "one page up", "", 0, inAll, page(-1)},
		{[]string{"pgdown", "ctrl+f"}, "PgDn", "one page down; in the log and the audit, older lines", "", 0, inAll, page(1)},
		{[]string{"g", "home"}, "g Home", "to the top", "", 0, inAll, move(-maxMove)},
		{[]string{"G", "end"}, "G End", "to the end", "", 0, inAll, move(maxMove)},
		{[]string{"tab"}, "tab", "faceplate, table, log", "", 0, inPis | inLog, do(func(m *Model) { m.nextFocus(1) })},
		{[]string{"shift+tab"}, "shift-tab", "the same, backwards", "", 0, inPis | inLog, do(func(m *Model) { m.nextFocus(-1) })},
		{[]string{"enter", "b"}, "enter b", "open the Pi: facts, why it is stuck, boots, log", "", 0, inRows, func(m *Model) tea.Cmd { return m.openDetail() }},
		{[]string{"["}, "[", "the boot before", "older boot", 4, inDetail, do(func(m *Model) { m.detail.step(1) })},
		{[]string{"]"}, "]", "the boot after", "newer", 5, inDetail, do(func(m *Model) { m.detail.step(-1) })},
		{[]string{"esc"}, "esc", "back one: drop range, filter, faults only, marks; never leaves", "", 0, inPis, do((*Model).back)},
		{[]string{"esc"}, "esc", "back to where you were", "back", 2, inAll &^ inPis, do((*Model).back)},
		{[]string{"space"}, "space", "mark or unmark the Pi; verbs then act on all marked", "mark", 6, inPis, do((*Model).toggleMark)},
		{[]string{"v"}, "v", "mark a range: v, move, v", "", 0, inPis, do((*Model).rangeMark)},
		{[]string{"*"}, "*", "mark all that the filter shows", "", 0, inPis, do((*Model).markAll)},
		{[]string{"/"}, "/", "filter", "filter", 5, inPis, do((*Model).startFilter)},
		{[]string{":"}, ":", "command line", "cmd", 7, inRows | inDetail, do((*Model).startCommand)},
		{[]string{"!"}, "!", "only faults, or all again", "faults", 8, inPis, do((*Model).toggleFaults)},
		{[]string{"s"}, "s", "sort; the same order again turns it round", "", 0, inPis, do((*Model).startSort)},
		{[]string{"w"}, "w", "wide: other columns, no pane", "", 0, inPis, do(func(m *Model) { m.wide = !m.wide })},
		{[]string{"f"}, "f", "freeze the display, or thaw it", "", 0, inRows | inDetail, func(m *Model) tea.Cmd { return m.freeze() }},
		{[]string{"1"}, "1", "the rack", "", 0, inRows | inDetail, goTo(viewRack)},
		{[]string{"2"}, "2", "the Pis", "", 0, inRows | inDetail, goTo(viewPis)},
		{[]string{"3"}, "3", "the jobs", "", 0, inRows | inDetail, goTo(viewJobs)},
		{[]string{"4"}, "4", "the log", "", 0, inRows | inDetail, goTo(viewLog)},
		{[]string{"5"}, "5", "the audit: every act, who did it, from where and why", "", 0, inRows | inDetail, goTo(viewAudit)},
		{[]string{"M"}, "M", "mouse on or off", "", 0, inRows | inDetail, do((*Model).toggleMouse)},
		{[]string{"r"}, "r", "act again after the console fell to read-only", "", 0, inRows | inDetail, do((*Model).readWrite)},
		{[]string{"?"}, "?", "this help", "help", 0, inAll &^ inHelp, do(func(m *Model) { m.help = &help{} })},
		{[]string{"?"}, "?", "close the help", "", 0, inHelp, do(func(m *Model) { m.help = nil })},
		{[]string{"q"}, "q", "leave this view, then the console", "leave", 9, inAll, (*Model).quit},
		{[]string{"ctrl+c"}, "ctrl-c", "leave the console; closes a line that is being typed first", "", 0, inAll, func(*Model) tea.Cmd { return tea.Quit }},
	}
}

// maxMove is further than anything is long.
const maxMove = 1 << 24

// key takes a key press. A running guard sees it first, then a line of input,
// then verbs, then the console's own keys.
func (m *Model) key(msg tea.KeyPressMsg) tea.Cmd {
	m.lastKey = m.now
	k := msg.String()
	deaf := m.now.Before(m.deaf)
	switch {
	case m.pending != nil:
		return m.guardKey(msg, k, deaf)
	case deaf:
		return nil
	case m.lay.kind == layTiny: // nothing acts unseen
		if k == "q" || k == "ctrl+c" {
			return tea.Quit
		}
		return nil
	case m.mode == modeFilter:
		return m.filterKey(msg, k)
	case m.mode == modeCommand:
		return m.commandKey(msg, k)
	case m.mode == modeArg:
		return m.argKey(msg, k)
	case m.mode == modeSort:
		m.sortKey(k)
		return nil
	}
	at := m.place()
	if m.flash.st != plain {
		m.flash = flash{} // an error stays until somebody is there
	}
	if at != inHelp {
		for _, v := range engine.Verbs() {
			if v.Key != "" && v.Key == k {
				return m.verbKey(v, k)
			}
		}
	}
	for _, b := range m.bindings {
		if b.where&at != 0 && slices.Contains(b.keys, k) {
			return b.do(m)
		}
	}
	return nil
}

// paste is dropped outside of text that it can do no harm in.
func (m *Model) paste(msg tea.PasteMsg) tea.Cmd {
	m.lastKey = m.now
	if m.pending != nil {
		if m.pending.guard.Kind == engine.GuardName {
			m.say(warn, "pasting is no confirmation: type it")
			return nil
		}
		m.disarm("something was pasted")
		return nil
	}
	if m.mode != modeFilter && m.mode != modeCommand && m.mode != modeArg {
		m.say(warn, "pasted text was dropped: keys act here")
		return nil
	}
	// One line only: a pasted line end must not submit what stands there.
	text, _, _ := strings.Cut(strings.TrimLeft(msg.Content, "\r\n"), "\n")
	m.input, _ = m.input.Update(tea.PasteMsg{Content: clean(text, false)})
	if m.mode == modeFilter {
		m.filterText = m.input.Value()
		m.refilter()
	}
	return nil
}

// edit gives a key to the line of input.
func (m *Model) edit(msg tea.KeyPressMsg) {
	m.input, _ = m.input.Update(msg)
}

func (m *Model) startInput(md mode, value string) {
	m.mode, m.inputOn = md, ""
	m.input.SetValue(value)
	m.input.CursorEnd()
}

func (m *Model) startFilter() {
	m.was = m.filterText
	m.startInput(modeFilter, m.filterText)
}

// filterKey edits the filter; it works as it is typed.
func (m *Model) filterKey(msg tea.KeyPressMsg, k string) tea.Cmd {
	switch k {
	case "enter":
		m.mode = modeKeys
	case "esc", "ctrl+c":
		m.mode, m.filterText = modeKeys, m.was
		m.refilter()
	case "up", "down":
		m.selectRow(m.row + map[string]int{"up": -1, "down": 1}[k])
	default:
		m.edit(msg)
		m.filterText = m.input.Value()
		m.refilter()
	}
	return nil
}

func (m *Model) startCommand() { m.startInput(modeCommand, "") }

func (m *Model) commandKey(msg tea.KeyPressMsg, k string) tea.Cmd {
	switch k {
	case "esc", "ctrl+c":
		m.mode = modeKeys
	case "tab":
		line, more := complete(m.input.Value(), m.scope())
		m.startInput(modeCommand, line)
		m.inputOn = strings.Join(more, " ")
	case "enter":
		return m.runLine(m.input.Value())
	case "backspace":
		if m.input.Value() == "" {
			m.mode = modeKeys
			return nil
		}
		fallthrough
	default:
		m.inputOn = ""
		m.edit(msg)
	}
	return nil
}

// runLine carries out a ":" line, or leaves it there with what is wrong.
func (m *Model) runLine(line string) tea.Cmd {
	if strings.TrimSpace(line) == "" {
		m.mode = modeKeys
		return nil
	}
	inv, err := parseCommand(line, m.scope())
	if err != nil {
		m.inputOn = err.Error()
		return nil
	}
	m.mode = modeKeys
	if inv.word != "" {
		return m.runWord(inv)
	}
	if argumentOf(inv.verb).needed && !inv.given() {
		return m.ask(inv.verb, inv.targets)
	}
	return m.start(inv.verb, inv.targets, "", inv.args)
}

func (m *Model) runWord(inv invocation) tea.Cmd {
	switch inv.word {
	case "rack":
		m.goTo(viewRack)
	case "pis":
		m.goTo(viewPis)
	case "jobs":
		m.goTo(viewJobs)
	case "log":
		m.goTo(viewLog)
	case "audit":
		m.goTo(viewAudit)
	case "help":
		m.help = &help{}
	case "filter":
		m.filterText = inv.rest
		m.refilter()
	case "q", "quit":
		return tea.Quit
	}
	return nil
}

func (m *Model) startSort() { m.mode = modeSort }

// sortKey takes the key after s. The same order again turns it round.
func (m *Model) sortKey(k string) {
	m.mode = modeKeys
	for i, o := range orderings {
		if o.key == k {
			m.reversed = i == m.order && !m.reversed
			m.order = i
			m.fillRows()
		}
	}
}

// move moves the cursor of the present place by n lines.
func (m *Model) move(n int) tea.Cmd {
	switch m.place() {
	case inHelp:
		m.help.top += n
	case inDetail:
		m.detail.top += n
	case inJobs:
		m.jobs.move(m.shown.Jobs, n)
	case inLog:
		m.log.move(n, m.shown.Log)
		return m.fetchOlder()
	case inAudit:
		m.audit.move(n)
	case inFace:
		m.faceMove(0, n)
	case inTable:
		m.selectRow(m.row + n)
	}
	return nil
}

func (m *Model) sideways(n int) { m.faceMove(n, 0) }

func (m *Model) pageRows() int {
	switch m.place() {
	case inLog:
		return max(m.logRows()-1, 1)
	case inTable:
		return max(m.lay.tableRows-1, 1)
	case inAudit:
		return max(m.lay.bodyRows-3, 1)
	case inFace:
		return 2
	}
	return max(m.lay.bodyRows-1, 1)
}

func (m *Model) nextFocus(d int) {
	order := []place{inFace, inTable, inLog}
	if m.view != viewRack || m.lay.kind != layFull {
		return
	}
	i := slices.Index(order, m.focus)
	m.focus = order[(i+d+len(order))%len(order)]
}

func (m *Model) goTo(v view) {
	m.view, m.detail, m.help = v, nil, nil
	m.jobs, m.audit = jobList{}, auditList{}
	m.focus = inTable
}

// back undoes one thing of the screen.
func (m *Model) back() {
	switch {
	case m.help != nil:
		m.help = nil
	case m.detail != nil:
		m.detail = nil
	case m.anchor != "":
		m.anchor = ""
	case m.filterText != "":
		m.filterText = ""
		m.refilter()
	case m.faults:
		m.toggleFaults()
	case len(m.marks) > 0:
		clear(m.marks)
		m.fillRows()
	default:
		m.view, m.focus = viewRack, inTable
	}
}

func (m *Model) quit() tea.Cmd {
	switch {
	case m.help != nil:
		m.help = nil
	case m.detail != nil:
		m.detail = nil
	case m.view != viewRack:
		m.goTo(viewRack)
	default:
		return tea.Quit
	}
	return nil
}

func (m *Model) toggleMark() {
	if m.anchor != "" {
		m.rangeMark()
		return
	}
	if m.sel == "" {
		return
	}
	if m.marks[m.sel] {
		delete(m.marks, m.sel)
	} else {
		m.marks[m.sel] = true
	}
}

// rangeMark starts a range at the cursor, or marks from its start to here.
func (m *Model) rangeMark() {
	if m.anchor == "" {
		m.anchor = m.sel
		return
	}
	for i := range m.rows {
		if m.inRange(i) {
			m.marks[m.shown.Pis[m.rows[i]].Name] = true
		}
	}
	m.anchor = ""
}

// inRange tells whether a row lies in the range that is being marked.
func (m *Model) inRange(row int) bool {
	if m.anchor == "" {
		return false
	}
	a := slices.IndexFunc(m.rows, func(i int) bool { return m.shown.Pis[i].Name == m.anchor })
	if a < 0 {
		return row == m.row
	}
	return row >= min(a, m.row) && row <= max(a, m.row)
}

func (m *Model) markAll() {
	for _, i := range m.rows {
		if p := &m.shown.Pis[i]; m.passes(p) {
			m.marks[p.Name] = true
		}
	}
}

func (m *Model) toggleFaults() {
	m.faults = !m.faults
	m.refilter()
}

func (m *Model) toggleMouse() {
	m.mouse = !m.mouse
	if m.mouse {
		m.say(plain, "mouse on: a click selects, the wheel scrolls; M gives it back to the terminal")
	} else {
		m.say(plain, "mouse off")
	}
}

// freeze holds the display still. What is pressed on it carries the state it
// shows, so that the engine refuses what is no longer so.
func (m *Model) freeze() tea.Cmd {
	if m.frozenAt.IsZero() {
		m.frozenAt = m.now
		return nil
	}
	m.frozenAt = time.Time{}
	return m.show(m.snap)
}

func (m *Model) readWrite() {
	switch {
	case m.opts.ReadOnly:
		m.say(warn, "this console was opened read-only")
	case m.opts.Actor.Role == engine.RoleViewer:
		m.say(warn, "your role may only look")
	default:
		m.idle = false
	}
}
