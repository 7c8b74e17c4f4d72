package tui

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"charm.land/bubbles/v2/key"
	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"picloud/engine"
)

// Options are what a console is opened with.
type Options struct {
	Viewer   engine.Viewer
	Actor    engine.Actor
	ASCII    bool             // no character beyond ASCII
	ReadOnly bool             // no verb, whatever the actor's role
	Idle     time.Duration    // without a key, after which it turns read-only; 0 = 10 minutes
	Leave    time.Duration    // without a key, after which it closes; 0 = never
	Now      func() time.Time // nil = time.Now
	Width    int              // of a terminal that cannot be asked for its size, 0 = ask
	Height   int

	Sizes  <-chan Size         // later sizes of such a terminal; nil = it keeps its size
	Actors <-chan engine.Actor // the same actor in another role; nil = it never changes
}

const (
	defaultIdle = 10 * time.Minute
	focusDeaf   = 300 * time.Millisecond // keys meant for another window
	actedDeaf   = 500 * time.Millisecond // keys meant to stop what just acted
	answerTime  = 10 * time.Second       // to confirm
	lateDeaf    = 2 * time.Second        // after that time ran out
	flashTime   = 12 * time.Second
)

// place is where the keys go.
type place uint8

const (
	inTable place = 1 << iota // the table of the rack or of the Pis
	inFace                    // the faceplate
	inLog                     // the log, below the table or as a view of its own
	inJobs
	inAudit
	inDetail
	inHelp
	inRows = inTable | inFace | inLog | inJobs | inAudit // has a cursor
	inPis  = inTable | inFace
	inAll  = inRows | inDetail | inHelp
)

type view uint8

const (
	viewRack view = iota
	viewPis
	viewJobs
	viewLog
	viewAudit
)

// mode is what a line of input is for.
type mode uint8

const (
	modeKeys mode = iota
	modeFilter
	modeCommand
	modeArg // of the verb in Model.asked
	modeSort
)

// Model is the console of one session. Its methods are called by one
// goroutine, Bubble Tea's.
type Model struct {
	opts   Options
	ctx    context.Context // of the engine: commands outlive the screen
	live   context.Context // of the screen
	leave  context.CancelFunc
	feed   <-chan *engine.Snapshot
	cancel func()
	doing  sync.WaitGroup // commands on their way to the engine

	bindings []binding
	canvas   canvas
	lay      layout
	now      time.Time

	snap     *engine.Snapshot // the newest
	shown    *engine.Snapshot // what the screen shows: the newest, or a frozen one
	frozenAt time.Time        // zero = not frozen
	index    map[engine.PiName]int
	blocks   []block
	nameW    int
	portW    int

	view   view
	focus  place // inTable, inFace or inLog, within the rack
	sel    engine.PiName
	rows   []int // Pis in the table, as indices into shown.Pis
	row    int   // of sel in rows, -1 = no row
	top    int   // first visible row
	face   int   // first visible block
	marks  map[engine.PiName]bool
	anchor engine.PiName // of a range being marked, "" = none

	filterText string
	filter     filter
	faults     bool
	order      int // into orderings
	reversed   bool
	wide       bool
	mouse      bool

	mode    mode
	input   textinput.Model
	was     string         // the filter before it was edited
	inputOn string         // what is wrong with the line, or how it could go on
	asked   asked          // what an argument is asked for
	pending *pending       // a guard that runs
	mine    map[int64]bool // jobs that this console began and that have not ended
	serial  int            // numbers pendings, so that a late tick is known

	detail *detail
	help   *help
	jobs   jobList
	log    logList
	audit  auditList
	flash  flash
	panel  []textLine
	cursor struct{ x, y int } // of the input, in the panel; x < 0 = none
	pane   []textLine
	hints  textLine
	label  []byte // of the table's rule

	lastKey time.Time
	deaf    time.Time // keys are dropped until then
	idle    bool      // read-only because nobody was there
}

// flash is the result of the last act.
type flash struct {
	st    style
	text  string
	until time.Time
}

// New makes the console of one session. ctx is the engine's: commands that
// were sent go on after the screen is gone. Close must be called.
func New(ctx context.Context, opts Options) *Model {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Idle == 0 {
		opts.Idle = defaultIdle
	}
	m := &Model{opts: opts, ctx: ctx, marks: map[engine.PiName]bool{}, mine: map[int64]bool{}, focus: inTable}
	m.live, m.leave = context.WithCancel(ctx)
	m.feed, m.cancel = opts.Viewer.Subscribe()
	m.canvas = canvas{sgr: newSGR(), g: newGlyphs(opts.ASCII), ascii: opts.ASCII}
	m.bindings = bindings()
	m.input = newInput()
	m.now = opts.Now()
	m.lastKey = m.now
	m.lay.w, m.lay.h = opts.Width, opts.Height
	m.take(opts.Viewer.Snapshot())
	m.refresh()
	return m
}

// Close ends the session's subscription and waits for commands that are on
// their way to the engine.
func (m *Model) Close() {
	m.leave()
	m.cancel()
	m.doing.Wait()
}

// newInput makes the one line of input. It takes no keys of its own to paste:
// the clipboard it would read is the server's.
func newInput() textinput.Model {
	in := textinput.New()
	in.Prompt = ""
	in.CharLimit = 200
	in.KeyMap.Paste = key.NewBinding(key.WithDisabled())
	in.KeyMap.AcceptSuggestion = key.NewBinding(key.WithDisabled())
	in.KeyMap.NextSuggestion = key.NewBinding(key.WithDisabled())
	in.KeyMap.PrevSuggestion = key.NewBinding(key.WithDisabled())
	in.SetVirtualCursor(false)
	in.Focus()
	return in
}

// Init starts waiting for snapshots and seconds.
func (m *Model) Init() tea.Cmd {
	return tea.Batch(m.waitSnapshot(), m.waitSecond(), m.waitSize(), m.waitActor())
}

// Update takes one message. It does nothing that could block.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	m.now = m.opts.Now()
	cmd := m.handle(msg)
	m.refresh()
	if more := m.wantAudit(); more != nil {
		cmd = tea.Batch(cmd, more)
	}
	return m, cmd
}

func (m *Model) handle(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.resize(msg.Width, msg.Height)
	case tea.KeyPressMsg:
		return m.key(msg)
	case tea.PasteMsg:
		return m.paste(msg)
	case tea.FocusMsg:
		m.deafFor(focusDeaf)
	case tea.MouseClickMsg:
		m.click(msg.Mouse())
	case tea.MouseWheelMsg:
		m.wheel(msg.Mouse())
	case snapshotMsg:
		return tea.Batch(m.take(msg.snap), m.waitSnapshot())
	case secondMsg:
		m.second()
		if m.left() {
			return tea.Quit
		}
		return m.waitSecond()
	case sizeMsg:
		return m.newSize(msg.size)
	case actorMsg:
		return m.newActor(msg.actor)
	case guardMsg:
		return m.guardTick(msg.serial)
	case doneMsg:
		m.done(msg)
	case bootsMsg:
		m.gotBoots(msg)
	case piLogMsg:
		m.gotPiLog(msg)
	case olderMsg:
		m.log.gotOlder(msg)
	case auditMsg:
		m.audit.got(msg)
	}
	return nil
}

// resize takes the terminal's size. A question that can no longer be read is
// not asked.
func (m *Model) resize(w, h int) {
	m.lay.w, m.lay.h = w, h
	if m.pending != nil && tooSmall(w, h) {
		m.disarm("the terminal became too small to show it")
	}
}

func (m *Model) deafFor(d time.Duration) {
	if t := m.now.Add(d); t.After(m.deaf) {
		m.deaf = t
	}
}

// second is what happens with time alone.
func (m *Model) second() {
	if m.flash.st != bad && m.now.After(m.flash.until) {
		m.flash = flash{}
	}
	if m.now.Sub(m.lastKey) >= m.opts.Idle {
		m.idle = true
	}
}

// say shows the result of an act or a key.
func (m *Model) say(st style, text string) {
	m.flash = flash{st, text, m.now.Add(flashTime)}
}

// take makes a snapshot the newest, and the one that is shown.
func (m *Model) take(s *engine.Snapshot) tea.Cmd {
	if s == nil || m.snap != nil && s.Gen < m.snap.Gen {
		return nil // commands end in any order; the engine numbers its snapshots
	}
	m.snap = s
	m.checkPending()
	m.followJobs()
	if m.frozenAt.IsZero() {
		return m.show(s)
	}
	return nil
}

// show puts a snapshot on the screen.
func (m *Model) show(s *engine.Snapshot) tea.Cmd {
	if m.shown == nil || !sameShape(m.shown, s) {
		m.reshape(s)
	}
	m.shown = s
	m.log.merge(s.Log)
	maps.DeleteFunc(m.marks, func(n engine.PiName, _ bool) bool { return m.pi(n) == nil })
	m.filter = parseFilter(m.filterText, s.Switches)
	m.fillRows()
	return m.followDetail()
}

// sameShape tells whether two snapshots have the same Pis on the same ports.
func sameShape(a, b *engine.Snapshot) bool {
	return slices.EqualFunc(a.Pis, b.Pis, func(p, q engine.PiView) bool { return p.Name == q.Name && p.Port == q.Port }) &&
		slices.EqualFunc(a.Switches, b.Switches, func(p, q engine.SwitchView) bool { return p.Name == q.Name && p.Ports == q.Ports })
}

// reshape works out what depends on which Pis and switches there are.
func (m *Model) reshape(s *engine.Snapshot) {
	m.index = make(map[engine.PiName]int, len(s.Pis))
	m.nameW, m.portW = 6, 6
	for i := range s.Pis {
		p := &s.Pis[i]
		m.index[p.Name] = i
		m.nameW = max(m.nameW, min(len(p.Name), 16))
		m.portW = max(m.portW, min(len(p.Port.String()), 12))
	}
	m.blocks = blocksOf(s.Switches)
}

// pi finds a Pi on the screen.
func (m *Model) pi(name engine.PiName) *engine.PiView { return m.piIn(m.shown, name) }

// piIn finds a Pi in a snapshot, first where it is in the one shown.
func (m *Model) piIn(s *engine.Snapshot, name engine.PiName) *engine.PiView {
	if i, ok := m.index[name]; ok && i < len(s.Pis) && s.Pis[i].Name == name {
		return &s.Pis[i]
	}
	if s == m.shown {
		return nil
	}
	for i := range s.Pis {
		if s.Pis[i].Name == name {
			return &s.Pis[i]
		}
	}
	return nil
}

func (m *Model) switchIndex(name string) int {
	return slices.IndexFunc(m.shown.Switches, func(s engine.SwitchView) bool { return s.Name == name })
}

// fillRows filters and sorts the table. The selected Pi stays in it even if it
// no longer matches: a key must not find another Pi under the cursor than the
// one that was there when a person looked.
func (m *Model) fillRows() {
	m.rows = m.rows[:0]
	for i := range m.shown.Pis {
		p := &m.shown.Pis[i]
		if p.Name == m.sel || m.passes(p) {
			m.rows = append(m.rows, i)
		}
	}
	m.sortRows()
	m.findRow()
}

func (m *Model) passes(p *engine.PiView) bool {
	return (!m.faults || isFault(p)) && m.filter.match(p, m.marks[p.Name])
}

// findRow finds the selected Pi's row, or selects a row if there is none.
func (m *Model) findRow() {
	m.row = slices.IndexFunc(m.rows, func(i int) bool { return m.shown.Pis[i].Name == m.sel })
	if m.row < 0 && len(m.rows) > 0 {
		m.row = 0
		m.sel = m.shown.Pis[m.rows[0]].Name
	}
	if len(m.rows) == 0 {
		m.sel = ""
	}
}

// refilter applies a filter that a person changed: the selection moves to a Pi
// that matches.
func (m *Model) refilter() {
	m.filter = parseFilter(m.filterText, m.shown.Switches)
	if p := m.pi(m.sel); p != nil && !m.passes(p) {
		m.sel = ""
	}
	m.fillRows()
}

// selectRow moves the cursor to a row. A Pi that was only kept because it was
// selected goes.
func (m *Model) selectRow(row int) {
	if len(m.rows) == 0 {
		return
	}
	row = min(max(row, 0), len(m.rows)-1)
	m.selectPi(m.shown.Pis[m.rows[row]].Name)
}

func (m *Model) selectPi(name engine.PiName) {
	old := m.pi(m.sel)
	m.sel = name
	if old != nil && old.Name != name && !m.passes(old) || m.pi(name) != nil && !m.passes(m.pi(name)) {
		m.fillRows()
		return
	}
	m.findRow()
}

// refresh works out everything that the screen needs, so that View only
// copies.
func (m *Model) refresh() {
	if m.view == viewJobs {
		m.jobs.fit(m.shown.Jobs, m.lay.bodyRows) // the panel is about the selected one
	}
	m.fillPanel()
	m.lay = m.layout()
	m.top = scroll(m.top, m.row, m.lay.tableRows, len(m.rows))
	m.face = m.scrollFace()
	if m.view == viewJobs {
		m.jobs.fit(m.shown.Jobs, m.lay.bodyRows)
	}
	m.audit.fit(m.lay.bodyRows - 2)
	if m.view == viewLog {
		m.fitLog()
	} else {
		m.log.fit(m.logRows())
	}
	m.fillPane()
	if m.detail != nil {
		m.fillDetail()
	}
	if m.help != nil {
		m.fillHelp()
	}
	m.fillHints()
}

// scroll moves a window of size rows as little as needed to show cur.
func scroll(top, cur, rows, n int) int {
	if cur >= 0 {
		if cur < top {
			top = cur
		}
		if cur >= top+rows {
			top = cur - rows + 1
		}
	}
	return max(min(top, n-rows), 0)
}

// place is where a key goes now.
func (m *Model) place() place {
	switch {
	case m.help != nil:
		return inHelp
	case m.detail != nil:
		return inDetail
	case m.view == viewJobs:
		return inJobs
	case m.view == viewLog:
		return inLog
	case m.view == viewAudit:
		return inAudit
	case m.view == viewPis || m.lay.kind != layFull:
		return inTable
	}
	return m.focus
}
