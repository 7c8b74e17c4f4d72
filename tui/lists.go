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

func (m *Model) drawJobHead(c *canvas) {
	c.put(strong, "    JOB  VERB      PI          STATE      STEP                 AGE  BY")
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
	c.padTo(9)
	c.cell(j.Verb, 9, false)
	c.padTo(19)
	c.cell(string(j.Pi), 11, false)
	c.padTo(31)
	if !selected {
		c.set(jobStyle(j.State))
	}
	c.cell(string(j.State), 10, false)
	c.set(base)
	c.padTo(42)
	c.scratch = appendStep(c.scratch[:0], j)
	c.bytesCell(c.scratch, 18, false)
	c.padTo(61)
	since := j.Since
	if j.State.Ended() && !j.Ended.IsZero() {
		since = j.Ended
	}
	c.scratch = m.ageCell(c.scratch[:0], since)
	c.bytesCell(c.scratch, 5, true)
	c.padTo(68)
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
	end     bool // there is nothing older
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

// drawLog draws one line of the log. full shows its date too.
func (m *Model) drawLog(c *canvas, i int, full bool) {
	l := &m.log.lines[i]
	focused := i == m.log.cur && m.place() == inLog
	if focused {
		c.set(chosen)
	}
	c.char(pick(focused, '>', ' '))
	layout := time.TimeOnly
	if full {
		layout = "01-02 " + layout
	}
	c.scratch = l.Time.In(m.now.Location()).AppendFormat(c.scratch[:0], layout)
	c.bytesCell(c.scratch, len(c.scratch), false)
	c.char(' ')
	c.cell(l.Actor, 7, false)
	c.char(' ')
	job := c.scratch[:0]
	if l.Job != 0 {
		job = strconv.AppendInt(append(job, "  job "...), l.Job, 10)
	}
	c.scratch = job
	end := c.limit
	c.limit = max(end-len(job)-1, c.x)
	if l.Pi != "" && !strings.Contains(l.Text, string(l.Pi)) {
		c.text(string(l.Pi))
		c.char(' ')
	}
	c.text(l.Text)
	c.padTo(c.limit)
	c.limit = end
	c.bytesCell(job, len(job), false)
	if focused {
		c.padTo(c.limit)
	}
}
