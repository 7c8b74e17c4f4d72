package engine

import (
	"context"
	"time"
)

// charge appends a row to the ledger, with the server's state that it goes with.
func (r *rack) charge(kind LedgerKind, s Server, board Spec, why string) {
	r.ids.Ledger++
	row := LedgerRow{
		ID: r.ids.Ledger, Time: r.clock.now(), Kind: kind, Account: s.Account, Server: s.Name, Task: s.Task,
		Spec: board, DiskGB: s.DiskGB, Price: s.Price, Reason: printable(why),
	}
	if kind == LedgerStop {
		row.Price = 0
	}
	r.changes.Ledger = append(r.changes.Ledger, row)
}

// recharge takes note of what a live server costs from now on, if that changed.
func (r *rack) recharge(s Server, board Spec, why string) Server {
	price, ok := r.rules.Price(board, s.DiskGB)
	// What is not sold any more stays at its price.
	if s.State != ServerLive || s.Account == "" || !ok || price == s.Price {
		return s
	}
	s.Price = price
	r.charge(LedgerChange, s, board, why)
	return s
}

// serverMoved follows a customer's server to another Pi.
func (r *rack) serverMoved(to *piState, task int64) {
	s, ok := r.servers[to.Server]
	if !ok || s.Account == "" {
		return
	}
	s.Placed = time.Now()
	s = r.recharge(s, to.Spec(), "on another board")
	r.saveServer(s)
	if s.State == ServerLive {
		r.notify(s, NoticeMoved, task, "it is on another Pi")
	}
}

// serverJobEnded follows what a job did to a customer's server.
func (r *rack) serverJobEnded(j *jobState) {
	switch VerbName(j.Verb) {
	case verbProvision:
		if j.State != JobDone {
			r.notProvisioned(j)
		}
		return
	case verbRelease:
		if j.State == JobDone {
			r.releaseEnded(j.pi)
		}
		return
	}
	s, ok := r.servers[j.pi.Server]
	if !ok || s.Account == "" || s.State != ServerLive || j.State != JobDone {
		return
	}
	switch VerbName(j.Verb) {
	case VerbReimage, VerbUndo:
		s.Image = j.pi.Image
		r.saveServer(s)
		r.notify(s, NoticeReimaged, j.ID, "its root is another: "+j.pi.Image)
	case VerbResize:
		s.Disk, s.DiskGB = j.Size, int((j.Size+gigabyte-1)/gigabyte)
		s = r.recharge(s, j.pi.Spec(), "another disk")
		r.saveServer(s)
		r.notify(s, NoticeResized, j.ID, "its disk is larger")
	case verbRekey:
		r.notify(s, NoticeKeys, j.ID, "other SSH keys may log in")
	}
}

// notify tells a server's owner something, and puts it on its way to their
// webhooks.
func (r *rack) notify(s Server, kind NoticeKind, task int64, text string) {
	if s.Account == "" {
		return
	}
	r.ids.Notice++
	n := Notice{ID: r.ids.Notice, Time: time.Now(), Account: s.Account, Server: s.Name, Kind: kind, Text: printable(text), Task: task}
	r.changes.Notices = append(r.changes.Notices, n)
	for _, h := range r.accounts.Webhooks(s.Account) {
		r.changes.Deliveries = append(r.changes.Deliveries, Delivery{Notice: n.ID, Webhook: h.ID, Next: n.Time})
	}
}

// stageNotices are the changes of a live server's stage that its owner is told.
// The evidence is not for them: it names the rack's own parts.
var stageNotices = map[Stage]struct {
	kind NoticeKind
	text string
}{
	StageUp:      {NoticeUp, "SSH answers"},
	StageOff:     {NoticeDown, "its power is off"},
	StageStalled: {NoticeStalled, "it does not get on with its boot"},
}

func (r *rack) notifyStage(p *piState, now Stage) {
	n, ok := stageNotices[now]
	if s := r.servers[p.Server]; ok && s.State == ServerLive {
		r.notify(s, n.kind, p.jobID(), n.text)
	}
}

// Noticed is closed when there are newer notices than when it was asked for.
func (e *Engine) Noticed() <-chan struct{} { return e.notices.wait() }

// LastNotice is the number of the newest notice.
func (e *Engine) LastNotice() int64 { return e.lastNotice.Load() }

// Notices pages an account's notices out of the store; see Inventory.
func (e *Engine) Notices(ctx context.Context, account string, after int64, limit int) ([]Notice, error) {
	return e.cfg.Inventory.Notices(ctx, account, after, limit)
}

// Ledger returns an account's rows; see Inventory.
func (e *Engine) Ledger(ctx context.Context, account string, until time.Time) ([]LedgerRow, error) {
	return e.cfg.Inventory.Ledger(ctx, account, until)
}
