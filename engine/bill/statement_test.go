package bill

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picloud/engine"
)

var (
	pi3 = engine.Spec{Model: 3, Memory: 1024, CPU: 1200, NIC: 100}
	pi4 = engine.Spec{Model: 4, Memory: 4096, CPU: 1500, NIC: 1000}
)

// november has 2,592,000 seconds.
var november = Month{2026, time.November}

func at(s string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", s)
	if err != nil {
		panic(err)
	}
	return t
}

// row is a row of the ledger of acme.
func row(id int64, when string, kind engine.LedgerKind, server string, task int64, price engine.Pence) engine.LedgerRow {
	return engine.LedgerRow{ID: id, Time: at(when), Kind: kind, Account: "acme", Server: server, Task: task, Spec: pi3, DiskGB: 10, Price: price}
}

// bill is a line in short.
type bill struct {
	Server   string
	From, To string
	Price    string
	Amount   string
}

func short(lines []Line) []bill {
	var out []bill
	for _, l := range lines {
		out = append(out, bill{l.Server, l.From.Format(time.DateTime), l.To.Format(time.DateTime), l.Price.String(), l.Amount.String()})
	}
	return out
}

func TestStatement(t *testing.T) {
	const start, change, stop = engine.LedgerStart, engine.LedgerChange, engine.LedgerStop
	for name, tc := range map[string]struct {
		rows  []engine.LedgerRow
		until string // "" = much later
		want  []bill
		total string
	}{
		"nothing": {total: "0.00"},
		"the whole month": {
			rows:  []engine.LedgerRow{row(1, "2026-03-07 09:00:01", start, "web", 1, 625)},
			want:  []bill{{"web", "2026-11-01 00:00:00", "2026-12-01 00:00:00", "6.25", "6.25"}},
			total: "6.25",
		},
		"from the first second to the last": {
			rows:  []engine.LedgerRow{row(1, "2026-11-01 00:00:00", start, "web", 1, 625), row(2, "2026-12-01 00:00:00", stop, "web", 1, 0)},
			want:  []bill{{"web", "2026-11-01 00:00:00", "2026-12-01 00:00:00", "6.25", "6.25"}},
			total: "6.25",
		},
		"over before, and begun after": {
			rows: []engine.LedgerRow{
				row(1, "2026-10-01 00:00:00", start, "a", 1, 625), row(2, "2026-11-01 00:00:00", stop, "a", 1, 0),
				row(3, "2026-12-01 00:00:00", start, "b", 2, 625),
			},
			total: "0.00",
		},
		"a day": { // 625 / 30 = 20.83
			rows:  []engine.LedgerRow{row(1, "2026-11-10 12:00:00", start, "web", 1, 625), row(2, "2026-11-11 12:00:00", stop, "web", 1, 0)},
			want:  []bill{{"web", "2026-11-10 12:00:00", "2026-11-11 12:00:00", "6.25", "0.21"}},
			total: "0.21",
		},
		"half a penny": { // a thousandth of 500 pence
			rows:  []engine.LedgerRow{row(1, "2026-11-01 00:00:00", start, "web", 1, 500), row(2, "2026-11-01 00:43:12", stop, "web", 1, 0)},
			want:  []bill{{"web", "2026-11-01 00:00:00", "2026-11-01 00:43:12", "5.00", "0.01"}},
			total: "0.01",
		},
		"a second": {
			rows:  []engine.LedgerRow{row(1, "2026-11-01 00:00:00", start, "web", 1, 500), row(2, "2026-11-01 00:00:01", stop, "web", 1, 0)},
			want:  []bill{{"web", "2026-11-01 00:00:00", "2026-11-01 00:00:01", "5.00", "0.01"}},
			total: "0.01",
		},
		"a price that changed": {
			rows: []engine.LedgerRow{row(1, "2026-10-20 00:00:00", start, "web", 1, 600), row(2, "2026-11-16 00:00:00", change, "web", 1, 900)},
			want: []bill{
				{"web", "2026-11-01 00:00:00", "2026-11-16 00:00:00", "6.00", "3.00"},
				{"web", "2026-11-16 00:00:00", "2026-12-01 00:00:00", "9.00", "4.50"},
			},
			total: "7.50",
		},
		"a change that changes nothing, and one that lasts no time": {
			rows: []engine.LedgerRow{
				row(1, "2026-11-01 00:00:00", start, "web", 1, 600), row(2, "2026-11-02 00:00:00", change, "web", 1, 600),
				row(3, "2026-11-16 00:00:00", change, "web", 1, 700), row(4, "2026-11-16 00:00:00", change, "web", 1, 900),
			},
			want: []bill{
				{"web", "2026-11-01 00:00:00", "2026-11-16 00:00:00", "6.00", "3.00"},
				{"web", "2026-11-16 00:00:00", "2026-12-01 00:00:00", "9.00", "4.50"},
			},
			total: "7.50",
		},
		"the same name again": {
			rows: []engine.LedgerRow{
				row(1, "2026-11-01 00:00:00", start, "web", 1, 3000), row(2, "2026-11-02 00:00:00", stop, "web", 1, 0),
				row(3, "2026-11-02 00:00:00", start, "web", 2, 3000), row(4, "2026-11-04 00:00:00", stop, "web", 2, 0),
			},
			want: []bill{
				{"web", "2026-11-01 00:00:00", "2026-11-02 00:00:00", "30.00", "1.00"},
				{"web", "2026-11-02 00:00:00", "2026-11-04 00:00:00", "30.00", "2.00"},
			},
			total: "3.00",
		},
		"a month that is not over": {
			rows:  []engine.LedgerRow{row(1, "2026-11-01 00:00:00", start, "web", 1, 3000)},
			until: "2026-11-02 12:00:00",
			want:  []bill{{"web", "2026-11-01 00:00:00", "2026-11-02 12:00:00", "30.00", "1.50"}},
			total: "1.50",
		},
		"for nothing": {
			rows:  []engine.LedgerRow{row(1, "2026-11-01 00:00:00", start, "web", 1, 0)},
			want:  []bill{{"web", "2026-11-01 00:00:00", "2026-12-01 00:00:00", "0.00", "0.00"}},
			total: "0.00",
		},
		"all the money there is": {
			rows:  []engine.LedgerRow{row(1, "2026-10-01 00:00:00", start, "web", 1, math.MaxInt64)},
			want:  []bill{{"web", "2026-11-01 00:00:00", "2026-12-01 00:00:00", "92233720368547758.07", "92233720368547758.07"}},
			total: "92233720368547758.07",
		},
	} {
		until := at("2027-06-01 00:00:00")
		if tc.until != "" {
			until = at(tc.until)
		}
		st, err := Make(november, tc.rows, until)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, short(st.Lines)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if st.Total.String() != tc.total || st.Over() != (tc.until == "") {
			t.Errorf("%s: total %s, over %t; want %s", name, st.Total, st.Over(), tc.total)
		}
	}
}

func TestMonths(t *testing.T) {
	for s, days := range map[string]int64{
		"2026-11": 30, "2026-12": 31, "2027-02": 28, "2028-02": 29, "2100-02": 28, "2000-02": 29,
		"2016-12": 31, // ended with a leap second
	} {
		m, err := ParseMonth(s)
		if err != nil || m.String() != s || m.Seconds() != days*86400 || MonthOf(m.Begin()) != m || MonthOf(m.End()) == m {
			t.Errorf("%s: %s, %d s, %v", s, m, m.Seconds(), err)
		}
	}
	for _, s := range []string{"", "2026", "2026-13", "2026-00", "2026-1", "26-11", "2026-11-01", " 2026-11", "0000-01", "-2026-11", "2026-11\n"} {
		if m, err := ParseMonth(s); !errors.Is(err, ErrMonth) {
			t.Errorf("%q: %v, %v", s, m, err)
		}
	}
	// A moment is in the month that it is in in UTC, wherever it was told.
	local := time.Date(2026, time.December, 1, 4, 0, 0, 0, time.FixedZone("", 5*3600))
	if m := MonthOf(local); m != november {
		t.Errorf("%s is in %s", local, m)
	}
}

func TestAMonthThatHasNotBegun(t *testing.T) {
	for _, until := range []time.Time{{}, november.Begin().Add(-time.Hour), november.Begin(), november.Begin().Add(999 * time.Millisecond)} {
		if st, err := Make(november, nil, until); !errors.Is(err, ErrNotBegun) {
			t.Errorf("until %s: %v, %v", until, st, err)
		}
	}
	if _, err := Make(november, nil, november.Begin().Add(time.Second)); err != nil {
		t.Error(err)
	}
}

// TestLedgersThatDoNotFit holds them to an error that names the row, and no money.
func TestLedgersThatDoNotFit(t *testing.T) {
	const start, change, stop = engine.LedgerStart, engine.LedgerChange, engine.LedgerStop
	good := row(1, "2026-11-01 00:00:00", start, "web", 1, 625)
	with := func(f func(*engine.LedgerRow)) engine.LedgerRow { r := good; f(&r); return r }
	next := func(kind engine.LedgerKind, price engine.Pence, f func(*engine.LedgerRow)) engine.LedgerRow {
		r := row(2, "2026-11-02 00:00:00", kind, "web", 1, price)
		f(&r)
		return r
	}
	same := func(*engine.LedgerRow) {}
	for name, rows := range map[string][]engine.LedgerRow{
		"no number":                   {with(func(r *engine.LedgerRow) { r.ID = 0 })},
		"no account":                  {with(func(r *engine.LedgerRow) { r.Account = "" })},
		"no server":                   {with(func(r *engine.LedgerRow) { r.Server = "" })},
		"no order":                    {with(func(r *engine.LedgerRow) { r.Task = 0 })},
		"no time":                     {with(func(r *engine.LedgerRow) { r.Time = time.Time{} })},
		"no whole second":             {with(func(r *engine.LedgerRow) { r.Time = r.Time.Add(time.Millisecond) })},
		"no kind":                     {with(func(r *engine.LedgerRow) { r.Kind = "gift" })},
		"a price below zero":          {with(func(r *engine.LedgerRow) { r.Price = -1 })},
		"twice the same row":          {good, good},
		"twice a start":               {good, next(start, 625, same)},
		"a second server of the name": {good, next(start, 625, func(r *engine.LedgerRow) { r.Task = 2 })},
		"a change of nothing":         {next(change, 625, same)},
		"a stop of nothing":           {next(stop, 0, same)},
		"a stop with a price":         {good, next(stop, 625, same)},
		"another's change":            {good, next(change, 700, func(r *engine.LedgerRow) { r.Account = "evil" })},
		"another server's stop":       {good, next(stop, 0, func(r *engine.LedgerRow) { r.Server = "db" })},
		"numbers out of order":        {next(start, 625, same), with(func(r *engine.LedgerRow) { r.Time = r.Time.Add(100 * time.Hour); r.Task = 2; r.Server = "db" })},
		"times out of order":          {good, next(change, 700, func(r *engine.LedgerRow) { r.Time = good.Time.Add(-time.Second) })},
		"a change after the stop":     {good, next(stop, 0, same), row(3, "2026-11-03 00:00:00", change, "web", 1, 625)},
		"a stop after the stop":       {good, next(stop, 0, same), row(3, "2026-11-03 00:00:00", stop, "web", 1, 0)},
		"a start after the stop":      {good, next(stop, 0, same), row(3, "2026-11-03 00:00:00", start, "web", 1, 625)},
	} {
		st, err := Make(november, rows, at("2027-01-01 00:00:00"))
		if !errors.Is(err, ErrLedger) || len(st.Lines) > 0 || st.Total != 0 {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
	if _, err := Make(november, []engine.LedgerRow{good, next(stop, 0, same)}, at("2027-01-01 00:00:00")); err != nil {
		t.Errorf("the rows that all these were made of: %v", err)
	}
}

func TestMoreThanThereIs(t *testing.T) {
	rows := []engine.LedgerRow{
		row(1, "2026-10-01 00:00:00", engine.LedgerStart, "web", 1, math.MaxInt64),
		row(2, "2026-11-30 23:00:00", engine.LedgerStart, "db", 2, 100_000),
	}
	if st, err := Make(november, rows, at("2027-01-01 00:00:00")); !errors.Is(err, ErrTooMuch) {
		t.Errorf("%+v, %v", st, err)
	}
}
