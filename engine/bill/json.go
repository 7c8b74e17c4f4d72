package bill

import (
	"time"

	"picloud/engine"
)

// StatementJSON is a statement in JSON. Times are RFC 3339 in UTC; amounts are
// texts, pounds with two decimals, for programs that know numbers only as floating
// point. A doc tag describes its field.
type StatementJSON struct {
	Version  int           `json:"version" doc:"1"`
	Month    string        `json:"month" doc:"as 2026-11, in UTC"`
	From     time.Time     `json:"from" doc:"first second of the month"`
	Until    time.Time     `json:"until" doc:"to which the month is counted"`
	Over     bool          `json:"over" doc:"false: the month is not over, amounts may grow"`
	Seconds  int64         `json:"month_seconds" doc:"of the whole month"`
	Currency string        `json:"currency" doc:"GBP"`
	Accounts []AccountJSON `json:"accounts" doc:"those that something is counted for, by name"`
	Total    string        `json:"total"`
}

// AccountJSON is what an account is charged.
type AccountJSON struct {
	Account string     `json:"account"`
	Lines   []LineJSON `json:"lines" doc:"by server, order and time"`
	Total   string     `json:"total"`
}

// LineJSON is what a server cost while it cost the same.
type LineJSON struct {
	Server  string    `json:"server"`
	Order   int64     `json:"order" doc:"tells a server from a later one of its name"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to" doc:"first second that is not counted"`
	Seconds int64     `json:"seconds"`
	Model   int       `json:"model" doc:"generation: 3, 4, 5"`
	Memory  int       `json:"memory_mb"`
	CPU     int       `json:"cpu_mhz"`
	NIC     int       `json:"nic_mbits"`
	Disk    int       `json:"disk_gb"`
	Price   string    `json:"month_price" doc:"of a whole month"`
	Amount  string    `json:"amount" doc:"month_price * seconds / month_seconds, rounded up"`
}

// JSON is the statement in its encoding.
func (s *Statement) JSON() StatementJSON {
	out := StatementJSON{
		Version: Version, Month: s.Month.String(), From: s.Month.Begin(), Until: s.Until, Over: s.Over(),
		Seconds: s.Month.Seconds(), Currency: currency, Accounts: []AccountJSON{}, Total: s.Total.String(),
	}
	s.accounts(func(name string, lines []Line, total engine.Pence) {
		a := AccountJSON{Account: name, Lines: make([]LineJSON, len(lines)), Total: total.String()}
		for i := range lines {
			a.Lines[i] = lines[i].json()
		}
		out.Accounts = append(out.Accounts, a)
	})
	return out
}

func (l *Line) json() LineJSON {
	return LineJSON{
		Server: l.Server, Order: l.Task, From: l.From, To: l.To, Seconds: l.Seconds(),
		Model: l.Spec.Model, Memory: l.Spec.Memory, CPU: l.Spec.CPU, NIC: l.Spec.NIC, Disk: l.DiskGB,
		Price: l.Price.String(), Amount: l.Amount.String(),
	}
}
