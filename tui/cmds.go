package tui

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"

	"picloud/engine"
)

// Messages of the console to itself.
type (
	snapshotMsg struct{ snap *engine.Snapshot }
	secondMsg   struct{}
	guardMsg    struct{ serial int }
	doneMsg     struct {
		verb engine.VerbName
		one  engine.PiName // the Pi, when it was one
		res  engine.Result
		err  error
	}
	bootsMsg struct {
		pi    engine.PiName
		boots []engine.Boot
		err   error
	}
	piLogMsg struct {
		pi    engine.PiName
		lines []engine.LogLine
		err   error
	}
	olderMsg struct {
		before int64
		lines  []engine.LogLine
		err    error
	}
)

// waitSnapshot waits for the next snapshot or the session's end. The engine
// never waits for it.
func (m *Model) waitSnapshot() tea.Cmd {
	feed, live := m.feed, m.live
	return func() tea.Msg {
		select {
		case s, ok := <-feed:
			if ok {
				return snapshotMsg{s}
			}
		case <-live.Done():
		}
		return nil
	}
}

// after sends msg in d, unless the session ends before.
func (m *Model) after(d time.Duration, msg tea.Msg) tea.Cmd {
	live := m.live
	return func() tea.Msg {
		t := time.NewTimer(max(d, 0))
		defer t.Stop()
		select {
		case <-t.C:
			return msg
		case <-live.Done():
			return nil
		}
	}
}

// waitSecond waits for the clock's next second: all ages change in one frame.
func (m *Model) waitSecond() tea.Cmd {
	return m.after(m.now.Truncate(time.Second).Add(time.Second).Sub(m.now), secondMsg{})
}

// sendTime bounds how long the engine may take to accept or refuse.
const sendTime = 30 * time.Second

// send gives a command to the engine. It has been decided, so it goes on even
// if the screen closes before Bubble Tea runs what is returned here, which only
// waits for the answer. Close waits for it too.
func (m *Model) send(cmd engine.Command) tea.Cmd {
	answer := make(chan doneMsg, 1)
	ctx, live, viewer := m.ctx, m.live, m.opts.Viewer
	m.doing.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, sendTime)
		defer cancel()
		msg := doneMsg{verb: cmd.Verb}
		msg.res, msg.err = viewer.Do(ctx, cmd)
		if len(cmd.Targets) == 1 {
			msg.one = cmd.Targets[0].Pi
		}
		answer <- msg
	})
	return func() tea.Msg {
		select {
		case msg := <-answer:
			return msg
		case <-live.Done():
			return nil
		}
	}
}

const (
	bootsShown  = 20  // older boots in the detail
	piLogShown  = 40  // log lines in the detail
	piLogSearch = 4   // pages looked through for them
	logPage     = 200 // lines at a time
)

func (m *Model) fetchBoots(pi engine.PiName) tea.Cmd {
	live, viewer := m.live, m.opts.Viewer
	return func() tea.Msg {
		boots, err := viewer.Boots(live, pi, bootsShown)
		return bootsMsg{pi, boots, err}
	}
}

// fetchPiLog looks through the newest pages of the log for lines of one Pi.
func (m *Model) fetchPiLog(pi engine.PiName) tea.Cmd {
	live, viewer := m.live, m.opts.Viewer
	return func() tea.Msg {
		var out []engine.LogLine
		before := int64(0)
		for range piLogSearch {
			page, err := viewer.Log(live, before, logPage)
			if err != nil {
				return piLogMsg{pi, out, err}
			}
			for _, l := range page {
				if l.Pi == pi && len(out) < piLogShown {
					out = append(out, l)
				}
			}
			if len(page) < logPage || len(out) == piLogShown {
				break
			}
			before = page[len(page)-1].ID
		}
		return piLogMsg{pi, out, nil}
	}
}

func (m *Model) fetchOlder() tea.Cmd {
	before, ok := m.log.wantsOlder()
	if !ok {
		return nil
	}
	m.log.loading = true
	live, viewer := m.live, m.opts.Viewer
	return func() tea.Msg {
		lines, err := viewer.Log(live, before, logPage)
		return olderMsg{before, lines, err}
	}
}
