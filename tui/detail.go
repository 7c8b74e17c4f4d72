package tui

import (
	"fmt"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"picloud/engine"
)

// detail is the page of one Pi.
type detail struct {
	pi      engine.PiName
	bootID  int64 // of the boot that the older ones were fetched beside
	boots   []engine.Boot
	log     []engine.LogLine
	err     string
	boot    int // which boot's timeline: 0 = the current one
	top     int
	lines   []textLine
	fetched bool
}

// openDetail opens the page of the Pi under the cursor.
func (m *Model) openDetail() tea.Cmd {
	name := m.sel
	switch m.place() {
	case inJobs:
		j := m.jobs.selected(m.shown.Jobs)
		if j == nil {
			return nil
		}
		name = j.Pi
	case inLog:
		if m.log.cur >= len(m.log.lines) {
			return nil
		}
		name = m.log.lines[m.log.cur].Pi
	case inAudit:
		r := m.audit.selected()
		if r == nil {
			return nil
		}
		name = engine.PiName(r.Target)
	}
	if m.pi(name) == nil {
		return nil
	}
	m.detail = &detail{pi: name}
	return m.followDetail()
}

// followDetail fetches the history beside a Pi's page, again when a new boot
// began. The page of a Pi that is gone closes.
func (m *Model) followDetail() tea.Cmd {
	d := m.detail
	if d == nil {
		return nil
	}
	p := m.pi(d.pi)
	if p == nil {
		m.detail = nil
		m.say(warn, string(d.pi)+" is gone")
		return nil
	}
	for i := len(m.shown.Log) - 1; i >= 0; i-- {
		if l := m.shown.Log[i]; d.fetched && l.Pi == d.pi && (len(d.log) == 0 || l.ID > d.log[0].ID) {
			d.log = slices.Insert(d.log, 0, l)
		}
	}
	d.log = d.log[:min(len(d.log), piLogShown)]
	id := int64(-1)
	if p.Boot != nil {
		id = p.Boot.ID
	}
	if d.fetched && d.bootID == id {
		return nil
	}
	first := !d.fetched
	d.fetched, d.bootID = true, id
	if first {
		return tea.Batch(m.fetchBoots(d.pi), m.fetchPiLog(d.pi))
	}
	return m.fetchBoots(d.pi)
}

func (m *Model) gotBoots(msg bootsMsg) {
	d := m.detail
	if d == nil || d.pi != msg.pi {
		return
	}
	if msg.err != nil {
		d.err = msg.err.Error()
		return
	}
	d.err, d.boots = "", msg.boots
}

func (m *Model) gotPiLog(msg piLogMsg) {
	d := m.detail
	if d == nil || d.pi != msg.pi {
		return
	}
	if msg.err != nil {
		d.err = msg.err.Error()
	}
	d.log = msg.lines
}

// step goes n boots back.
func (d *detail) step(n int) { d.boot += n }

// older are the boots before the current one.
func (d *detail) older(current *engine.Boot) []engine.Boot {
	return slices.DeleteFunc(slices.Clone(d.boots), func(b engine.Boot) bool { return current != nil && b.ID == current.ID })
}

// page builds lines of a given width.
type page struct {
	m     *Model
	width int
	lines []textLine
	brief bool // there is no scrolling: leave out what can wait
}

func (g *page) add(spans ...span) { g.lines = append(g.lines, spans) }

// label is how wide the names of facts are.
const label = 9

// fact adds a named fact, wrapped under itself.
func (g *page) fact(name string, st style, text string) {
	g.hang(span{quiet, fmt.Sprintf(" %-*s", label-1, name)}, label, st, text)
}

// hang adds text after a lead of n columns, wrapped to the lead's right.
func (g *page) hang(lead span, n int, st style, text string) {
	lines := wrap(g.m.clean(text), max(g.width-n-1, 8))
	if len(lines) == 0 {
		g.add(lead)
		return
	}
	for i, l := range lines {
		if i > 0 {
			lead = span{plain, fmt.Sprintf("%*s", n, "")}
		}
		g.add(lead, span{st, l})
	}
}

func (g *page) head(title string) {
	g.add()
	g.hang(span{plain, " "}, 1, strong, title)
}

// facts tells what is known of a Pi.
func (g *page) facts(p *engine.PiView) {
	m := g.m
	g.fact("stage", stageText(p.Stage), m.stageFact(p))
	if p.Job != nil {
		g.fact("job", busy, fmt.Sprintf("%d %s, by %s", p.Job.ID, appendJob(nil, p.Job, p.Name), p.Job.Actor))
	}
	g.rescue(p)
	g.fact("power", plain, m.powerFact(p))
	g.fact("life", plain, lifeFact(p))
	g.rent(p)
	g.fact("board", plain, boardFact(p))
	if p.SeenIs != "" {
		g.fact("heard", warn, fmt.Sprintf("the board of %s, %s ago: moved here? :adopt takes it as this Pi", p.SeenIs, m.ago(p.SeenAt)))
	} else if p.Seen != nil {
		g.fact("heard", warn, fmt.Sprintf("another board, %s, %s ago; :adopt takes it as this Pi", seenBoard(p.Seen), m.ago(p.SeenAt)))
	}
	g.fact("network", plain, networkFact(p))
	g.storage(p)
	g.fact("nfs", plain, m.nfsFact(p))
	g.fact("switch", plain, m.switchFact(p.Port.Switch))
}

// stageText is a stage's style for running text, where nothing is reversed.
func stageText(s engine.Stage) style {
	if st := stageStyle(s); st != alarm {
		return st
	}
	return bad
}

func (m *Model) ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return age(m.stamp().Sub(t))
}

// fresh is how old news may be before the screen says so: switches and sockets
// are asked every few seconds, and an age that only flickers tells nothing.
const fresh = 10 * time.Second

// old tells the age of news that is not fresh.
func (m *Model) old(t time.Time) string { return m.olderThan(fresh, t) }

// olderThan tells the age of news that is older than d.
func (m *Model) olderThan(d time.Duration, t time.Time) string {
	if m.stamp().Sub(t) <= d {
		return ""
	}
	return " (told " + m.ago(t) + " ago)"
}

func (m *Model) stageFact(p *engine.PiView) string {
	s := p.Stage.String() + " for " + m.ago(p.Since)
	if p.Stage == engine.StageStalled || p.Stage == engine.StageUnknown {
		s += ", was " + p.LastStage.String()
	}
	return s + ": " + p.Stage.Meaning()
}

func (m *Model) powerFact(p *engine.PiView) string {
	s := p.Power.String()
	switch p.Power {
	case engine.PowerUnknown:
		s = "unknown"
	case engine.PowerSearching:
		s = "on, but nothing draws any"
	}
	if p.HasWatts && p.Power == engine.PowerOn {
		s += fmt.Sprintf(", %s W", appendWatts(nil, p.Milliwatts))
	}
	if p.Power == engine.PowerOff && p.Wanted {
		s += ", should be on"
	} else if p.Power == engine.PowerOn && !p.Wanted {
		s += ", should be off"
	}
	if p.Link != "" {
		s += ", link " + p.Link
	}
	if p.PowerAt.IsZero() {
		return s + " (the switch never told)"
	}
	return s + m.old(p.PowerAt)
}

func lifeFact(p *engine.PiView) string {
	s := string(p.Life) + ", " + whose(p)
	if p.Note != "" {
		s += ": " + p.Note
	}
	return s
}

// rent tells what a server that was ordered is to its customer: how far it is,
// since when, and what it costs.
func (g *page) rent(p *engine.PiView) {
	r, m := p.Rent, g.m
	if r.State == "" {
		return
	}
	since := ""
	if !r.Live.IsZero() {
		since = " since " + m.date(r.Live)
	}
	g.fact("rent", plain, fmt.Sprintf("%s%s, %s a month, %d GB disk", r.State, since, r.Price, r.DiskGB))
	if !g.brief {
		g.fact("order", plain, fmt.Sprintf("job %d of %s", r.Task, m.date(r.Created)))
	}
	if p.Public.IsValid() {
		g.fact("address", plain, p.Public.String())
	}
}

// date writes a moment that may be long ago.
func (m *Model) date(t time.Time) string { return t.In(m.now.Location()).Format("2006-01-02 15:04") }

func boardFact(p *engine.PiView) string {
	s := "Pi " + orUnknown(string(p.Model))
	if n := serial(p); n != "" {
		s += ", serial " + n
	}
	if mac := p.MAC.String(); mac != "" {
		s += ", " + mac
	}
	if p.Memory != 0 {
		s += fmt.Sprintf(", %d MB", p.Memory)
	}
	return s
}

// seenBoard is what a board that was heard says of itself.
func seenBoard(d *engine.DHCPSeen) string {
	if d.Model == "" {
		return d.MAC.String()
	}
	return fmt.Sprintf("Pi %s %s", d.Model, d.MAC)
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func networkFact(p *engine.PiView) string {
	s := orUnknown(addr(p))
	if p.Segment.Server.IsValid() {
		s += ", server " + p.Segment.Server.String()
	}
	if p.Segment.Interface != "" {
		s += " on " + p.Segment.Interface
	}
	return s
}

func (m *Model) nfsFact(p *engine.PiView) string {
	n := p.NFS
	switch {
	case n.Refused != "":
		return "mount refused: " + n.Refused
	case p.NFSAt.IsZero():
		return "nothing seen"
	case !n.Connected:
		return "not connected, last seen " + m.ago(p.NFSAt) + " ago"
	}
	return fmt.Sprintf("connected, read %s, wrote %s, rtt %.1f ms, %s%s", bytesOf(n.BytesOut), bytesOf(n.BytesIn),
		n.RTT.Seconds()*1000, plural(int(n.Retransmits), "retransmit", "retransmits"), m.old(p.NFSAt))
}

func (m *Model) switchFact(name string) string {
	i := m.switchIndex(name)
	if i < 0 {
		return name
	}
	sw := &m.shown.Switches[i]
	s := name
	if sw.Err != "" {
		return s + " does not answer since " + m.ago(sw.Answered) + ": " + sw.Err
	}
	s += fmt.Sprintf(", %s", appendWatts(nil, sw.Milliwatts))
	if sw.BudgetWatts > 0 {
		s += fmt.Sprintf(" of %d", sw.BudgetWatts)
	}
	return s + " W, up " + age(sw.Uptime)
}

// why tells why a Pi is stuck and what to do.
func (g *page) why(p *engine.PiView) {
	d := p.Diagnosis
	if p.Stage != engine.StageStalled || d.Cause == "" {
		return
	}
	if len(g.lines) > 0 {
		g.add()
	}
	g.hang(span{bad, " stuck   "}, label, bad, d.Cause)
	if d.Hint != "" {
		g.hang(span{strong, " do      "}, label, plain, d.Hint)
	}
	if !g.brief {
		g.add()
	}
}

// timeline tells one boot's evidence, at most max lines of it, the newest.
func (g *page) timeline(title string, b *engine.Boot, max int) {
	g.head(title)
	if b == nil {
		g.add(span{quiet, "  none seen"})
		return
	}
	mark := len(g.lines)
	for _, e := range b.Events {
		lead := fmt.Sprintf(" %8s %-7s ", plus(e.Time.Sub(b.Started)), e.Stage)
		g.hang(span{stageText(e.Stage), lead}, len(lead), plain, e.Evidence)
	}
	if over := len(g.lines) - mark - max; over > 0 {
		g.lines = append(g.lines[:mark], g.lines[mark+over:]...)
	}
}

// plus writes the time since a boot began.
func plus(d time.Duration) string {
	if d >= 1000*time.Second {
		return "+" + age(d)
	}
	return fmt.Sprintf("+%.1fs", d.Seconds())
}

// bootTitle says in a line how a boot went.
func (m *Model) bootTitle(b *engine.Boot) string {
	s := b.Started.In(m.now.Location()).Format("01-02 15:04:05")
	switch {
	case b.Cause != "":
		return s + ", stalled in " + b.Reached.String() + ": " + b.Cause
	case !b.Up.IsZero():
		return s + ", up in " + fmt.Sprintf("%.1fs", b.Up.Sub(b.Started).Seconds())
	}
	return s + ", reached " + b.Reached.String()
}

// fillDetail makes the page of the open Pi.
func (m *Model) fillDetail() {
	d := m.detail
	p := m.pi(d.pi)
	if p == nil {
		return
	}
	g := &page{m: m, width: m.lay.w, lines: d.lines[:0]}
	g.why(p)
	g.facts(p)
	older := d.older(p.Boot)
	d.boot = min(max(d.boot, 0), len(older))
	if d.boot == 0 {
		title := "boot"
		if p.Boot != nil {
			title = "boot of " + m.bootTitle(p.Boot)
		}
		g.timeline(title, p.Boot, engine.MaxBootEvents*4)
	} else {
		b := &older[d.boot-1]
		g.timeline("boot of "+m.bootTitle(b), b, engine.MaxBootEvents*4)
	}
	g.head("boots before")
	for i := range older {
		lead := pick(i == d.boot-1, '>', ' ')
		g.hang(span{strong, string(lead) + " "}, 2, plain, m.bootTitle(&older[i]))
	}
	if len(older) == 0 {
		g.add(span{quiet, "  none kept"})
	}
	g.head("log")
	for _, l := range d.log {
		lead := l.Time.In(m.now.Location()).Format(" 01-02 15:04:05 ")
		g.hang(span{quiet, lead}, len(lead), plain, l.Actor+" "+l.Text)
	}
	if len(d.log) == 0 {
		g.add(span{quiet, "  nothing"})
	}
	if d.err != "" {
		g.hang(span{bad, "  history: "}, 11, plain, d.err)
	}
	d.lines = g.lines
	d.top = max(min(d.top, len(d.lines)-(m.lay.bodyRows-1)), 0)
}

// fillPane makes the pane on the right: why the selected Pi is where it is.
func (m *Model) fillPane() {
	m.pane = m.pane[:0]
	p := m.pi(m.sel)
	if m.lay.pane == 0 || p == nil {
		return
	}
	g := &page{m: m, width: m.lay.pane, lines: m.pane, brief: true}
	g.add(span{strong, " " + string(p.Name)}, span{plain, "  " + p.Port.String()})
	g.why(p)
	g.add()
	g.facts(p)
	title := "boot"
	if p.Boot != nil {
		title = "boot of " + p.Boot.Started.In(m.now.Location()).Format(time.TimeOnly)
	}
	g.timeline(title, p.Boot, max(m.lay.bodyRows-len(g.lines)-2, 1))
	m.pane = g.lines
}
