package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Pence is an amount of money in hundredths of a pound.
type Pence int64

// String gives pounds: "12.34", "-0.05".
func (p Pence) String() string {
	sign := ""
	if p < 0 {
		sign, p = "-", -p
	}
	return fmt.Sprintf("%s%d.%02d", sign, p/100, p%100)
}

// ErrMoney means that a text is no amount.
var ErrMoney = errors.New("no amount of money: want pounds and pence such as 6.25")

// maxPounds bounds an amount: no sum over a month and a rack can overflow.
const maxPounds = 1_000_000

// ParsePence reads pounds with at most two decimals, not below zero.
func ParsePence(s string) (Pence, error) {
	pounds, pence, dot := strings.Cut(s, ".")
	n, err := strconv.ParseUint(pounds, 10, 32)
	if err != nil || n > maxPounds || dot && (len(pence) < 1 || len(pence) > 2) || strings.HasPrefix(s, "+") {
		return 0, fmt.Errorf("%q: %w", s, ErrMoney)
	}
	part := uint64(0)
	if dot {
		if part, err = strconv.ParseUint((pence + "0")[:2], 10, 8); err != nil || pence[0] == '+' {
			return 0, fmt.Errorf("%q: %w", s, ErrMoney)
		}
	}
	return Pence(n*100 + part), nil
}

// LedgerKind is what a row of the ledger says.
type LedgerKind string

// A server begins to cost, costs otherwise from now on, or costs no more.
const (
	LedgerStart  LedgerKind = "start"
	LedgerChange LedgerKind = "change"
	LedgerStop   LedgerKind = "stop"
)

// LedgerRow is one row of the ledger, which is only ever appended to. What a
// server costs between two of its rows is what the first says.
type LedgerRow struct {
	ID      int64
	Time    time.Time // UTC, in whole seconds, never before an earlier row
	Kind    LedgerKind
	Account string
	Server  string
	Task    int64 // number of its order: tells a server from a later one of its name
	Spec    Spec
	DiskGB  int
	Price   Pence // a month, of all there is to it; 0 in a stop
	Reason  string
}

// Plan is what a board costs a month.
type Plan struct {
	Spec  Spec // a zero matches any
	Month Pence
}

// Rules are how servers are ordered and what they cost, as the configuration
// has it.
type Rules struct {
	Plans []Plan // the first that the board meets is its price
	// Disk is a month of each 10 GB.
	Disk Pence
	// Spares are how many ready Pis of each spec are held back from orders, for
	// servers whose Pi fails.
	Spares int
	// Tries are how many Pis a server is tried on.
	Tries int
	// Pool is where public addresses come from, one a server, each given with
	// the length of Bits; zero = servers have none.
	Pool    netip.Prefix
	Bits    int
	Gateway netip.Addr
	// Ports is the first SSH port of the IPv4 proxy: number n has Ports+n.
	Ports int
	// Quarantine is how long an address is nobody's after its server is released.
	Quarantine time.Duration
	// Keep is how long the root of a released server is kept.
	Keep time.Duration
	// Image is what an order without one gets, "" = the first of the rack's.
	Image string
	// Examine makes a returned or new board boot the examination system before
	// it is ready; Exam is the image whose kernel that has.
	Examine bool
	Exam    string
}

// Price is what a board with a disk costs a month, and whether any plan has it.
func (r *Rules) Price(board Spec, diskGB int) (Pence, bool) {
	for _, p := range r.Plans {
		if board.Meets(p.Spec) {
			return p.Month + r.Disk*Pence((diskGB+9)/10), true
		}
	}
	return 0, false
}
