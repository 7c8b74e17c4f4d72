package tui

import (
	"time"

	tea "charm.land/bubbletea/v2"

	"picloud/engine"
)

// Size is a terminal's size in characters.
type Size struct{ Width, Height int }

// leaveWarning is how long before the end a console says that it will close.
const leaveWarning = time.Minute

// Messages from the session around the console.
type (
	sizeMsg  struct{ size Size }
	actorMsg struct{ actor engine.Actor }
)

// waitSize waits for the next size of a terminal that cannot be asked.
func (m *Model) waitSize() tea.Cmd {
	return wait(m, m.opts.Sizes, func(s Size) tea.Msg { return sizeMsg{s} })
}

// waitActor waits for the session's actor to become another.
func (m *Model) waitActor() tea.Cmd {
	return wait(m, m.opts.Actors, func(a engine.Actor) tea.Msg { return actorMsg{a} })
}

// wait waits for a value or the session's end. A nil channel is not waited for.
func wait[T any](m *Model, from <-chan T, msg func(T) tea.Msg) tea.Cmd {
	if from == nil {
		return nil
	}
	live := m.live
	return func() tea.Msg {
		select {
		case v, ok := <-from:
			if ok {
				return msg(v)
			}
		case <-live.Done():
		}
		return nil
	}
}

// newSize hands a size to Bubble Tea, whose renderer needs it too, and waits
// for the next.
func (m *Model) newSize(s Size) tea.Cmd {
	return tea.Batch(func() tea.Msg { return tea.WindowSizeMsg{Width: s.Width, Height: s.Height} }, m.waitSize())
}

// newActor takes over a role that was changed while the console is open. A
// guard that runs for a verb that is no longer allowed falls.
func (m *Model) newActor(a engine.Actor) tea.Cmd {
	was := m.opts.Actor.Role
	m.opts.Actor = a
	if m.pending != nil && a.Role < m.pending.verb.Role {
		m.disarm("your role is " + a.Role.String() + " now")
	} else if was != a.Role {
		m.say(warn, "your role is "+a.Role.String()+" now")
	}
	return m.waitActor()
}

// left tells whether nobody has pressed a key for so long that the console
// closes, and says so a minute before.
func (m *Model) left() bool {
	if m.opts.Leave <= 0 {
		return false
	}
	unused := m.now.Sub(m.lastKey)
	if m.opts.Leave-unused <= leaveWarning && unused >= leaveWarning && m.pending == nil {
		m.say(warn, "no key for "+age(unused)+": this console closes within a minute; any key keeps it open")
	}
	return unused >= m.opts.Leave
}
