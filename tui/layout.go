package tui

// The sizes at which the screen changes its shape.
const (
	minWidth, minHeight   = 40, 10 // below: one line
	fullWidth, fullHeight = 80, 24 // below: only the list
	paneWidth, paneHeight = 120, 34
)

type layKind uint8

const (
	layTiny layKind = iota // one line
	layList                // counts, rows, line, keys
	layFull
)

// layout says which line of the screen holds what. Lines are counted from 0;
// a part that is not there has 0 rows.
type layout struct {
	w, h       int
	kind       layKind
	left, pane int // columns of the left part and of the pane
	bodyRows   int // between the first line and the panel

	faceBlocks int // visible
	tableRule  int // line of its rule, -1 = none
	tableTop   int // line of its first row
	tableRows  int
	logRule    int
	logTop     int
	logRows    int

	panelTop, panelRows int

	cols []placed // of the table
}

// layout fits the screen into the terminal. The panel grows upwards over the
// log, so that the table does not move under a question; only if there is no
// log it shortens the table.
func (m *Model) layout() layout {
	l := layout{w: m.lay.w, h: m.lay.h, tableRule: -1, logRule: -1}
	if tooSmall(l.w, l.h) {
		return l
	}
	l.kind = layList
	if l.w >= fullWidth && l.h >= fullHeight {
		l.kind = layFull
	}
	l.panelRows = min(max(len(m.panel), 1), l.h-4) // counts, head, a row, keys
	l.panelTop = l.h - 1 - l.panelRows
	l.bodyRows = l.panelTop - 1
	l.left = min(l.w, maxWidth)
	if l.w >= paneWidth && l.h >= paneHeight && !m.wide && m.view <= viewPis {
		l.pane = min(l.left-fullWidth-1, 60)
		l.left -= l.pane + 1
	}
	switch {
	case l.kind == layList || m.view != viewRack:
		l.tableTop = 2
		l.tableRows = l.bodyRows - 1
	default:
		l.rack(len(m.blocks))
	}
	l.cols = m.fitColumns(l.left)
	return l
}

func tooSmall(w, h int) bool { return w < minWidth || h < minHeight }

// rack divides the lines of the rack's view.
func (l *layout) rack(blocks int) {
	const others = 7 // counts, port numbers, legend, two rules, table's head, keys
	l.faceBlocks = min(blocks, max(4, (l.h-14)/4))
	rest := l.h - others - 1 - 2*l.faceBlocks
	l.tableRule = 3 + 2*l.faceBlocks
	l.tableTop = l.tableRule + 2
	l.logRows = min(max(rest/4, 3), 10)
	l.tableRows = rest - l.logRows
	l.logRule = l.tableTop + l.tableRows
	l.logTop = l.logRule + 1
	switch over := l.logTop + l.logRows - l.panelTop; {
	case over <= 0:
	case over < l.logRows:
		l.logRows -= over
	default: // the log goes with its rule
		l.logRows, l.logRule = 0, -1
		l.tableRows = min(l.tableRows, l.panelTop-l.tableTop)
	}
}

// logRows is how many lines of the log are on the screen.
func (m *Model) logRows() int {
	if m.view == viewLog {
		return m.lay.bodyRows - 1
	}
	return m.lay.logRows
}
