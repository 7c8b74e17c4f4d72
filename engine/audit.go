package engine

import (
	"net/netip"
	"time"
)

// Role is what an actor may do.
type Role uint8

// Roles, each including the ones before it.
const (
	RoleViewer Role = iota
	RoleOperator
	RoleAdmin
)

// String names the role.
func (r Role) String() string {
	if r > RoleAdmin {
		return "invalid"
	}
	return [...]string{"viewer", "operator", "admin"}[r]
}

// ParseRole reads a role's name.
func ParseRole(name string) (Role, bool) {
	for r := RoleViewer; r <= RoleAdmin; r++ {
		if r.String() == name {
			return r, true
		}
	}
	return 0, false
}

// Actor is who acts, and from where.
type Actor struct {
	Name   string
	Role   Role
	Source string // tty, ssh, api, engine
	From   netip.AddrPort
	Key    string // SSH key fingerprint, "uid:1000" or an API key's ID
	// Account makes the actor a customer, who may act on the account's own
	// servers only.
	Account string
}

// SystemActor is the engine itself: the rules that are written down.
func SystemActor() Actor { return Actor{Name: "-", Role: RoleAdmin, Source: "engine"} }

// AuditRow is one act: opened before it, closed after it.
type AuditRow struct {
	ID     int64
	Time   time.Time
	Actor  string
	Source string
	Key    string
	Verb   string
	Target string
	Reason string
	Job    int64
	Result string    // "" = not over
	Ended  time.Time // zero = not over
}

// LogLine is one line of the rack's log: an act's progress, or something the
// rack did by itself. Lines are stored; viewers page them from the Inventory.
type LogLine struct {
	ID    int64
	Time  time.Time
	Actor string
	Pi    PiName
	Job   int64
	Text  string
}
