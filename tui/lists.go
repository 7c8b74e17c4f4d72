package tui

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"picloud/engine"
)

// maxLog bounds the lines a console keeps; older ones are fetched again.
const maxLog = 5000

// logList is the rack's log as far as this console has it, newest first. At
// the top it follows what happens; scrolled away it stays with its line.
type logList struct {
	lines   []engine.LogLine
	cur     int
	top     int
	rows    []logRow // on the screen, in the log's own view
	end     bool     // there is nothing older
	loading bool
	err     string
}

// merge puts newer lines on top. If so many came that the two no longer meet,
// it starts again from the newest, but never under a reader's eyes.
func (l *logList) merge(newest []engine.LogLine) {
	if len(newest) == 0 {
		return
	}
	n := len(newest)
	if len(l.lines) > 0 {
		n = slices.IndexFunc(newest, func(x engine.LogLine) bool { return x.ID <= l.lines[0].ID })
	}
	switch {
	case n == 0:
		return
	case n > 0 && len(l.lines) > 0:
		l.lines = slices.Insert(l.lines, 0, newest[:n]...)
		if len(l.lines) > maxLog {
			l.lines, l.end = l.lines[:maxLog], false
		}
		if l.cur > 0 {
			l.cur += n
			l.top += n
		}
	case l.cur == 0:
		l.lines, l.end = slices.Clone(newest), false
	}
}

// move moves the cursor; at the top it takes what came meanwhile.
func (l *logList) move(n int, newest []engine.LogLine) {
	l.cur = max(min(l.cur+n, len(l.lines)-1), 0)
	if l.cur == 0 {
		l.merge(newest)
	}
}

func (l *logList) fit(rows int) {
	l.cur = max(min(l.cur, len(l.lines)-1), 0)
	l.top = scroll(l.top, l.cur, rows, len(l.lines))
}

// wantsOlder tells whether the cursor is near the end of what is here, and
// before which line to go on.
func (l *logList) wantsOlder() (before int64, ok bool) {
	if l.end || l.loading || len(l.lines) == 0 || len(l.lines) >= maxLog || l.cur+logPage/2 < len(l.lines) {
		return 0, false
	}
	return l.lines[len(l.lines)-1].ID, true
}

func (l *logList) gotOlder(msg olderMsg) {
	l.loading = false
	if msg.err != nil {
		l.err = msg.err.Error()
		return
	}
	l.err = ""
	if len(l.lines) == 0 || l.lines[len(l.lines)-1].ID != msg.before {
		return // the list was begun anew meanwhile
	}
	l.lines = append(l.lines, msg.lines...)
	l.end = len(msg.lines) < logPage
}

// logRow is one line of the screen in the log's own view, where long lines are
// wrapped.
type logRow struct {
	line  int
	first bool // of its line
	text  string
}

// Columns of a line of the log before its text: cursor, time, actor.
const (
	logLead     = 1 + len(time.TimeOnly) + 1 + 7 + 1
	logDate     = len("01-02 ")
	logLineRows = 6  // as many rows a line may take
	logJobWidth = 60 // narrower screens leave the job's number out
)

// fitLog scrolls the log's own view to its cursor and breaks what is visible
// into rows.
func (m *Model) fitLog() {
	l, rows := &m.log, max(m.logRows(), 1)
	l.fit(rows)
	used := 0
	for i := l.cur; i >= l.top && i < len(l.lines); i-- {
		if used += len(m.logText(i)); used > rows && i < l.cur {
			l.top = i + 1
			break
		}
	}
	l.rows = l.rows[:0]
	for i := l.top; i < len(l.lines) && len(l.rows) < rows; i++ {
		for n, text := range m.logText(i) {
			l.rows = append(l.rows, logRow{i, n == 0, text})
		}
	}
	l.rows = l.rows[:min(len(l.rows), rows)]
}

// logText is a line's text, wrapped for the log's own view.
func (m *Model) logText(i int) []string {
	l := &m.log.lines[i]
	width := m.lay.left - logDate - logLead - len(m.logJob(nil, l)) - 1
	lines := wrapMax(m.clean(logSays(l)), max(width, 8), logLineRows)
	if len(lines) == 0 {
		return []string{""}
	}
	return lines
}

// logSays is a line's text with the Pi that it is about.
func logSays(l *engine.LogLine) string {
	if l.Pi == "" || strings.Contains(l.Text, string(l.Pi)) {
		return l.Text
	}
	return string(l.Pi) + " " + l.Text
}

func (m *Model) logJob(b []byte, l *engine.LogLine) []byte {
	if l.Job == 0 || m.lay.left < logJobWidth {
		return b
	}
	return strconv.AppendInt(append(b, "  job "...), l.Job, 10)
}

// drawLogRow draws one line of the screen in the log's own view.
func (m *Model) drawLogRow(c *canvas, row logRow) {
	l := &m.log.lines[row.line]
	if row.first {
		m.drawLog(c, l, row.line, time.DateTime[len("2006-"):], row.text)
		return
	}
	focused := row.line == m.log.cur && m.place() == inLog
	if focused {
		c.set(chosen)
	}
	c.padTo(logDate + logLead)
	c.text(row.text)
	if focused {
		c.padTo(c.limit)
	}
}

// drawLog draws a line of the log with the time in a layout.
func (m *Model) drawLog(c *canvas, l *engine.LogLine, i int, layout, text string) {
	focused := i == m.log.cur && m.place() == inLog
	if focused {
		c.set(chosen)
	}
	c.char(pick(focused, '>', ' '))
	c.scratch = l.Time.In(m.now.Location()).AppendFormat(c.scratch[:0], layout)
	c.bytesCell(c.scratch, len(c.scratch), false)
	c.char(' ')
	c.cell(l.Actor, 7, false)
	c.char(' ')
	c.scratch = m.logJob(c.scratch[:0], l)
	job := c.scratch
	end := c.limit
	c.limit = max(end-len(job)-1, c.x)
	c.text(text)
	c.padTo(c.limit)
	c.limit = end
	c.bytesCell(job, len(job), false)
	if focused {
		c.padTo(c.limit)
	}
}
