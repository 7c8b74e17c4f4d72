package tui

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"picloud/engine"
)

// jobList is the cursor in the list of jobs. It follows a job by its number;
// when that job leaves the list no job is selected until the cursor is moved,
// so that a key never cancels the one that took its place.
type jobList struct {
	id  int64 // 0 = take the first
	row int
	top int
}

// noJob is the number of no job.
const noJob = -1

// fit finds the selected job again and scrolls to it.
func (l *jobList) fit(jobs []engine.JobView, bodyRows int) {
	i := slices.IndexFunc(jobs, func(j engine.JobView) bool { return j.ID == l.id })
	switch {
	case i >= 0:
		l.row = i
	case l.id == 0 && len(jobs) > 0:
		l.row, l.id = 0, jobs[0].ID
	case l.id != 0:
		l.id = noJob
	}
	l.row = max(min(l.row, len(jobs)-1), 0)
	l.top = scroll(l.top, l.row, max(bodyRows-1, 1), len(jobs))
}

func (l *jobList) move(jobs []engine.JobView, n int) {
	if len(jobs) > 0 {
		l.row = min(max(l.row+n, 0), len(jobs)-1)
		l.id = jobs[l.row].ID
	}
}

func (l *jobList) selected(jobs []engine.JobView) *engine.JobView {
	if l.row < len(jobs) && jobs[l.row].ID == l.id {
		return &jobs[l.row]
	}
	return nil
}

// jobColumns are where the columns of the jobs begin. That of the Pi is as wide
// as a move needs, which names two.
type jobColumns struct{ verb, pi, state, step, age, by int }

func (m *Model) jobColumns() jobColumns {
	const narrow = 11
	w, wide := narrow, 17
	if m.lay.w >= nameWidth {
		wide = 2*16 + 1
	}
	for i := range m.shown.Jobs {
		if j := &m.shown.Jobs[i]; j.To != "" {
			w = max(w, min(len(j.Pi)+1+len(j.To), wide))
		}
	}
	state := 19 + w + 1
	return jobColumns{verb: 9, pi: 19, state: state, step: state + 11, age: state + 31, by: state + 38}
}

func (m *Model) drawJobHead(c *canvas) {
	at := m.jobColumns()
	c.put(strong, "    JOB")
	for _, h := range [...]struct {
		x     int
		title string
	}{{at.verb, "VERB"}, {at.pi, "PI"}, {at.state, "STATE"}, {at.step, "STEP"}, {at.age + 2, "AGE"}, {at.by, "BY"}} {
		c.padTo(h.x)
		c.text(h.title)
	}
}

// jobPi names the Pi of a job, and where a move goes.
func (m *Model) jobPi(j *engine.JobView) string {
	if j.To == "" {
		return string(j.Pi)
	}
	return string(j.Pi) + m.canvas.g.arrow + string(j.To)
}

func jobStyle(s engine.JobState) style {
	switch s {
	case engine.JobFailed:
		return bad
	case engine.JobRunning:
		return busy
	}
	return plain
}

func (m *Model) drawJob(c *canvas, row int) {
	j := &m.shown.Jobs[row]
	base := plain
	selected := j.ID == m.jobs.id
	if selected {
		base = chosen
	}
	c.set(base)
	c.char(pick(selected, '>', ' '))
	c.scratch = strconv.AppendInt(c.scratch[:0], j.ID, 10)
	c.bytesCell(c.scratch, 6, true)
	at := m.jobColumns()
	c.padTo(at.verb)
	c.cell(j.Verb, at.pi-at.verb-1, false)
	c.padTo(at.pi)
	c.cell(m.jobPi(j), at.state-at.pi-1, false)
	c.padTo(at.state)
	if !selected {
		c.set(jobStyle(j.State))
	}
	c.cell(string(j.State), 10, false)
	c.set(base)
	c.padTo(at.step)
	c.scratch = appendStep(c.scratch[:0], j)
	c.bytesCell(c.scratch, at.age-at.step-1, false)
	c.padTo(at.age)
	since := j.Since
	if j.State.Ended() && !j.Ended.IsZero() {
		since = j.Ended
	}
	c.scratch = m.ageCell(c.scratch[:0], since)
	c.bytesCell(c.scratch, 5, true)
	c.padTo(at.by)
	c.text(j.Actor)
	if selected {
		c.padTo(c.limit)
	}
}

// appendStep writes "3/5 clone 71%".
func appendStep(b []byte, j *engine.JobView) []byte {
	b = strconv.AppendInt(b, int64(j.StepNo), 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(j.Steps), 10)
	if j.State == engine.JobDone {
		return b
	}
	b = append(b, ' ')
	b = append(b, clean(j.Step, true)...)
	if j.Percent >= 0 && j.State == engine.JobRunning {
		b = append(b, ' ')
		b = append(strconv.AppendInt(b, int64(j.Percent), 10), '%')
	}
	return b
}

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
