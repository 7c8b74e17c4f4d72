package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"picloud/engine"
)

const (
	auditPage  = 200             // rows asked for at a time
	maxAudit   = 5000            // rows that a console keeps
	auditSoon  = time.Second     // between two looks at the rows on the screen, after something happened
	auditLater = 5 * time.Second // the same when nothing did
)

// auditList is the audit as far as this console has it, newest first. It is
// paged from the store, since nothing of it may be dropped. At the top it
// follows what is done; scrolled away it stays where it is, and only the
// results of the rows on the screen are looked up again.
type auditList struct {
	rows    []engine.AuditRow
	id      int64 // of the selected row, 0 = the newest
	cur     int
	top     int
	end     bool // there is nothing older
	loading bool
	err     string
	asked   time.Time // when the rows on the screen were last asked for
	line    int64     // the newest line of the log at that time
}

// auditMsg is a page of the audit: the rows before a number, 0 = the newest.
type auditMsg struct {
	before int64
	rows   []engine.AuditRow
	err    error
}

// wantAudit fetches what the audit's view lacks, one page at a time.
func (m *Model) wantAudit() tea.Cmd {
	l := &m.audit
	if m.view != viewAudit || l.loading {
		return nil
	}
	before, want := l.wantsOlder()
	if m.auditIsDue() {
		before, want = l.shownFrom(), true
		l.asked, l.line = m.now, m.newestLine()
	}
	if !want {
		return nil
	}
	l.loading = true
	live, viewer := m.live, m.opts.Viewer
	return func() tea.Msg {
		rows, err := viewer.Audit(live, before, auditPage)
		return auditMsg{before, rows, err}
	}
}

// auditIsDue tells whether the rows on the screen may have changed: every act
// and every end of one is a line of the log, too.
func (m *Model) auditIsDue() bool {
	l := &m.audit
	waited := m.now.Sub(l.asked)
	switch {
	case l.asked.IsZero():
		return true
	case !m.frozenAt.IsZero():
		return false
	case l.line != m.newestLine():
		return waited >= auditSoon
	}
	return waited >= auditLater
}

func (m *Model) newestLine() int64 {
	if len(m.snap.Log) == 0 {
		return 0
	}
	return m.snap.Log[0].ID
}

// shownFrom is the number before which the page of the visible rows begins.
func (l *auditList) shownFrom() int64 {
	if l.top == 0 || l.top >= len(l.rows) {
		return 0
	}
	return l.rows[l.top].ID + 1
}

// wantsOlder tells whether the cursor is near the end of what is here, and
// before which row to go on.
func (l *auditList) wantsOlder() (before int64, ok bool) {
	if l.end || l.err != "" || len(l.rows) == 0 || len(l.rows) >= maxAudit || l.cur+auditPage/2 < len(l.rows) {
		return 0, false
	}
	return l.rows[len(l.rows)-1].ID, true
}

// got puts a page among the rows: it takes the place of those it tells anew.
func (l *auditList) got(msg auditMsg) {
	l.loading, l.err = false, ""
	switch n := len(msg.rows); {
	case msg.err != nil:
		l.err = msg.err.Error()
		return
	case msg.before != 0 && !l.reaches(msg.before):
		return // asked for by a list that was begun anew meanwhile
	case n == 0:
		l.end = true
		return
	case msg.before == 0 && len(l.rows) > 0 && msg.rows[n-1].ID > l.rows[0].ID:
		if l.top > 0 {
			return // so many that the two do not meet: not under a reader's eyes
		}
		l.rows, l.id, l.end = nil, 0, false
	}
	l.merge(msg)
	if l.cur = l.find(l.id); l.cur < 0 {
		l.cur, l.id = 0, 0
	}
}

// reaches tells whether a page before a number joins the rows without a gap.
func (l *auditList) reaches(before int64) bool {
	return slices.ContainsFunc(l.rows, func(r engine.AuditRow) bool { return r.ID == before || r.ID == before-1 })
}

func (l *auditList) merge(msg auditMsg) {
	oldest := msg.rows[len(msg.rows)-1].ID
	newer := slices.IndexFunc(l.rows, func(r engine.AuditRow) bool { return msg.before == 0 || r.ID < msg.before })
	older := slices.IndexFunc(l.rows, func(r engine.AuditRow) bool { return r.ID < oldest })
	if newer < 0 {
		newer = len(l.rows)
	}
	if older < 0 {
		older = len(l.rows)
		l.end = len(msg.rows) < auditPage
	}
	l.rows = slices.Concat(l.rows[:newer], msg.rows, l.rows[older:])
	if len(l.rows) > maxAudit {
		l.rows, l.end = l.rows[:maxAudit], false
	}
}

// find is where a row is, 0 for none in particular, -1 = it is not there.
func (l *auditList) find(id int64) int {
	if id == 0 {
		return 0
	}
	return slices.IndexFunc(l.rows, func(r engine.AuditRow) bool { return r.ID == id })
}

// move moves the cursor. At the top it follows what comes.
func (l *auditList) move(n int) {
	l.selectRow(l.cur + n)
}

func (l *auditList) selectRow(row int) {
	l.cur = max(min(row, len(l.rows)-1), 0)
	l.id = 0
	if l.cur > 0 {
		l.id = l.rows[l.cur].ID
	}
}

func (l *auditList) fit(rows int) {
	l.top = scroll(l.top, l.cur, max(rows, 1), len(l.rows))
}

func (l *auditList) selected() *engine.AuditRow {
	if l.cur >= len(l.rows) {
		return nil
	}
	return &l.rows[l.cur]
}

// auditPanel tells all of the selected act: how it ended, who did it, with
// which key and from where, and why.
func (m *Model) auditPanel() {
	r := m.audit.selected()
	if r == nil {
		return
	}
	head := fmt.Sprintf("%s %s: ", r.Verb, r.Target)
	m.panel = m.wrapped(m.panel, textLine{{auditStyle(r), m.clean(head)}}, plain, auditResult(r))
	parts := []string{"by " + auditActor(r), "from " + r.Source}
	if r.Key != "" {
		parts = append(parts, "key "+r.Key)
	}
	if r.Job != 0 {
		parts = append(parts, fmt.Sprintf("job %d", r.Job))
	}
	if !r.Ended.IsZero() {
		parts = append(parts, "ended "+r.Ended.In(m.now.Location()).Format(time.DateTime))
	}
	m.panel = m.wrapped(m.panel, nil, plain, strings.Join(parts, ", "))
	if r.Reason != "" {
		m.panel = m.wrapped(m.panel, textLine{{plain, "why: "}}, plain, r.Reason)
	}
	// On a small screen the rows are more than all of one.
	m.panel = m.panel[:min(len(m.panel), max((m.lay.h-4)/2, 1))]
}

func auditActor(r *engine.AuditRow) string {
	if r.Actor == engine.SystemActor().Name {
		return "the rack itself"
	}
	return r.Actor
}

func auditResult(r *engine.AuditRow) string {
	if r.Ended.IsZero() {
		return "not over"
	}
	return r.Result
}

func auditStyle(r *engine.AuditRow) style {
	switch {
	case r.Ended.IsZero():
		return busy
	case strings.HasPrefix(r.Result, "ok"):
		return plain
	}
	return bad
}

// auditColumns are where the columns of the audit begin; from where and why are
// columns of their own where there is room, and always in the panel.
type auditColumns struct {
	layout                                      string // of the time
	actor, verb, target, result, source, reason int    // 0 = not there
}

func (m *Model) auditColumns() auditColumns {
	switch w := m.lay.w; {
	case w < fullWidth:
		return auditColumns{layout: time.TimeOnly, actor: 10, verb: 17, target: 25, result: 34}
	case w < paneWidth:
		return auditColumns{layout: time.DateTime[len("2006-"):], actor: 16, verb: 25, target: 40, result: 53}
	}
	return auditColumns{layout: time.DateTime, actor: 21, verb: 31, target: 48, result: 62, source: 86, reason: 110}
}

func (m *Model) drawAudit(c *canvas, y int) {
	switch i := m.audit.top + y - 3; {
	case y == 1:
		m.drawAuditRule(c)
	case y == 2:
		m.drawAuditHead(c)
	case i < len(m.audit.rows):
		m.drawAuditRow(c, i)
	case i == 0 && !m.audit.loading && m.audit.err == "":
		c.put(quiet, "  nothing was done yet")
	}
}

func (m *Model) drawAuditRule(c *canvas) {
	l := &m.audit
	right := plural(len(l.rows), "act", "acts")
	switch {
	case l.err != "":
		right = "the audit cannot be read"
	case l.end:
		right += ", all"
	case len(l.rows) >= maxAudit:
		right += "; picloud audit has those before"
	}
	c.rule(strong, "audit, newest first", right)
}

func (m *Model) drawAuditHead(c *canvas) {
	at := m.auditColumns()
	c.put(strong, " TIME")
	for _, h := range [...]struct {
		x     int
		title string
	}{{at.actor, "ACTOR"}, {at.verb, "VERB"}, {at.target, "TARGET"}, {at.result, "RESULT"}, {at.source, "FROM"}, {at.reason, "WHY"}} {
		if h.x > 0 {
			c.padTo(h.x)
			c.text(h.title)
		}
	}
}

func (m *Model) drawAuditRow(c *canvas, row int) {
	r := &m.audit.rows[row]
	at := m.auditColumns()
	base, mark := plain, byte(' ')
	if row == m.audit.cur {
		base, mark = chosen, '>'
	}
	c.set(base)
	c.char(mark)
	c.scratch = r.Time.In(m.now.Location()).AppendFormat(c.scratch[:0], at.layout)
	c.bytesCell(c.scratch, len(c.scratch), false)
	until := func(x int, s string) {
		c.cell(s, x-c.x-1, false)
		c.padTo(x)
	}
	c.padTo(at.actor)
	until(at.verb, r.Actor)
	until(at.target, r.Verb)
	until(at.result, r.Target)
	if row != m.audit.cur {
		c.set(auditStyle(r))
	}
	if at.source == 0 {
		c.text(auditResult(r))
	} else {
		until(at.source, auditResult(r))
		c.set(base)
		until(at.reason, r.Source)
		c.text(r.Reason)
	}
	if row == m.audit.cur {
		c.padTo(c.limit)
	}
}
