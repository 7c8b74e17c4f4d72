package tui

import (
	"slices"
	"strconv"

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

// jobColumns are where the columns of the jobs begin, and end before the next.
// That of the Pi is as wide as a move needs, which names two; whose the server
// is has a column if any job is for one, and who began the job if there is room
// for both.
type jobColumns struct{ verb, pi, state, step, age, whose, by int }

const (
	verbWidth  = len("provision")
	stateWidth = len("cancelled")
	stepWidth  = len("14/17 switch-root")
	whoseWidth = 24
)

func (m *Model) jobColumns() jobColumns {
	const narrow = 11
	w, wide, roomy := narrow, 17, m.lay.w >= nameWidth
	if roomy {
		wide = 2*16 + 1
	}
	served := false
	for i := range m.shown.Jobs {
		j := &m.shown.Jobs[i]
		served = served || j.Server != ""
		if j.To != "" {
			w = max(w, min(len(j.Pi)+1+len(j.To), wide))
		}
	}
	at := jobColumns{verb: 9}
	at.pi = at.verb + verbWidth + 1
	at.state = at.pi + w + 1
	at.step = at.state + stateWidth + 1
	at.age = at.step + stepWidth + 1
	if roomy {
		at.age += 4 // and a reason to wait is long
	}
	at.by = at.age + 6
	switch {
	case !served:
	case roomy:
		at.whose, at.by = at.by, at.by+whoseWidth+1
	default:
		at.whose, at.by = at.by, 0 // it is in the panel
	}
	return at
}

func (m *Model) drawJobHead(c *canvas) {
	at := m.jobColumns()
	c.put(strong, "    JOB")
	for _, h := range [...]struct {
		x     int
		title string
	}{{at.verb, "VERB"}, {at.pi, "PI"}, {at.state, "STATE"}, {at.step, "STEP"}, {at.age + 1, "AGE"}, {at.whose, "WHOSE"}, {at.by, "BY"}} {
		if h.x > 0 {
			c.padTo(h.x)
			c.text(h.title)
		}
	}
}

// jobWhose is the customer and the server that a job is for.
func jobWhose(j *engine.JobView) string {
	if j.Owner == "" {
		return j.Server
	}
	return j.Owner + "/" + j.Server
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
	c.cell(j.Verb, verbWidth, false)
	c.padTo(at.pi)
	c.cell(m.jobPi(j), at.state-at.pi-1, false)
	c.padTo(at.state)
	if !selected {
		c.set(jobStyle(j.State))
	}
	m.drawJobState(c, j)
	c.set(base)
	c.padTo(at.step)
	if j.State == engine.JobQueued && j.Waits != "" {
		c.cell(j.Waits, at.age-at.step-1, false)
	} else {
		c.scratch = appendStep(c.scratch[:0], j)
		c.bytesCell(c.scratch, at.age-at.step-1, false)
	}
	c.padTo(at.age)
	since := j.Since
	if j.State.Ended() && !j.Ended.IsZero() {
		since = j.Ended
	}
	c.scratch = m.ageCell(c.scratch[:0], since)
	c.bytesCell(c.scratch, 4, true)
	if at.whose > 0 {
		c.padTo(at.whose)
		c.cell(jobWhose(j), min(whoseWidth, max(c.limit-at.whose, 0)), false)
	}
	if at.by > 0 {
		c.padTo(at.by)
		c.text(j.Actor)
	}
	if selected {
		c.padTo(c.limit)
	}
}

// drawJobState draws a job's state as a word, and while it runs how far it is as
// a bar.
func (m *Model) drawJobState(c *canvas, j *engine.JobView) {
	if j.State != engine.JobRunning {
		c.cell(string(j.State), stateWidth, false)
		return
	}
	done := barDone(j, stateWidth)
	for i := range stateWidth {
		if i < done {
			c.glyph(c.g.barDone)
		} else {
			c.glyph(c.g.barLeft)
		}
	}
}

// barDone is how many of width parts of a job are done: each step is as long as
// the others, for how long each will take nobody knows.
func barDone(j *engine.JobView, width int) int {
	if j.Steps <= 0 {
		return 0
	}
	steps := min(j.Steps, 1000)
	parts := min(max(j.StepNo-1, 0), steps)*100 + min(max(j.Percent, 0), 100)
	return min(parts*width/(steps*100), width)
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
