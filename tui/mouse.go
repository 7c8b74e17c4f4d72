package tui

import tea "charm.land/bubbletea/v2"

// click selects what was clicked on; it never acts. It stops a running guard,
// as any other input does.
func (m *Model) click(e tea.Mouse) {
	m.lastKey = m.now
	if m.pending != nil {
		m.disarm("stopped by a click")
		return
	}
	if !m.mouse || m.lay.kind == layTiny || m.detail != nil || m.help != nil || e.X >= m.lay.left {
		return
	}
	l := &m.lay
	switch {
	case m.view == viewJobs:
		if i := m.jobs.top + e.Y - 2; e.Y >= 2 && e.Y < l.panelTop && i < len(m.shown.Jobs) {
			m.jobs.id = m.shown.Jobs[i].ID
		}
	case m.view == viewLog:
		if i := e.Y - 2; i >= 0 && i < len(m.log.rows) {
			m.log.cur = m.log.rows[i].line
		}
	case m.view == viewAudit:
		if i := m.audit.top + e.Y - 3; e.Y >= 3 && e.Y < l.panelTop && i < len(m.audit.rows) {
			m.audit.selectRow(i)
		}
	case e.Y >= l.tableTop && e.Y < l.tableTop+l.tableRows:
		if row := m.top + e.Y - l.tableTop; row < len(m.rows) {
			m.focus = inTable
			m.selectRow(row)
		}
	case l.logRule >= 0 && e.Y >= l.logTop:
		m.focus = inLog
		m.clickLog(e.Y - l.logTop)
	case e.Y >= 2 && e.Y < 2+2*l.faceBlocks:
		m.clickFace(e)
	}
}

func (m *Model) clickLog(row int) {
	if i := m.log.top + row; row >= 0 && row < m.logRows() && i < len(m.log.lines) {
		m.log.cur = i
	}
}

func (m *Model) clickFace(e tea.Mouse) {
	b, col := m.face+(e.Y-2)/2, (e.X-faceLeft+1)/3
	if b >= len(m.blocks) || e.X < faceLeft-1 || col >= blockPorts/2 {
		return
	}
	m.focus = inFace
	if p := m.at(m.blocks[b], (e.Y-2)%2, col); p != nil {
		m.selectPi(p.Name)
	}
}

// wheel scrolls.
func (m *Model) wheel(e tea.Mouse) {
	if !m.mouse || m.pending != nil {
		return
	}
	switch e.Button {
	case tea.MouseWheelUp:
		m.move(-3)
	case tea.MouseWheelDown:
		m.move(3)
	}
}
