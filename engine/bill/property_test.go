package bill

import (
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"picloud/engine"
)

// life is a server as the test means it: prices from times on, and an end.
type life struct {
	account, server string
	task            int64
	from            []int64 // Unix seconds, never falling
	price           []engine.Pence
	end             int64 // never = none
}

const never = int64(1) << 40

// Times are drawn around the end of a month, where mistakes are.
var (
	pivot  = Month{2028, time.February}.End().Unix()
	months = []Month{{2028, time.January}, {2028, time.February}, {2028, time.March}, {2028, time.April}}
)

func drawLives(t *rapid.T) []life {
	var out []life
	moment := rapid.OneOf(
		rapid.Int64Range(pivot-70*86400, pivot+40*86400),
		rapid.Int64Range(pivot-2, pivot+2),
		rapid.SampledFrom([]int64{months[0].Begin().Unix(), months[1].Begin().Unix(), months[2].End().Unix()}),
	)
	for i := range rapid.IntRange(0, 5).Draw(t, "servers") {
		l := life{
			account: rapid.SampledFrom([]string{"acme", "zeta"}).Draw(t, "account"),
			server:  string(rune('a' + i)), task: int64(100 - i),
			from: rapid.SliceOfN(moment, 1, 6).Draw(t, "times"), end: never,
		}
		slices.Sort(l.from)
		for range l.from {
			l.price = append(l.price, engine.Pence(rapid.Int64Range(0, 1e6).Draw(t, "price")))
		}
		if rapid.Bool().Draw(t, "ends") {
			l.end = max(moment.Draw(t, "end"), l.from[len(l.from)-1])
		}
		out = append(out, l)
	}
	return out
}

// ledger writes the rows of lives, as the engine does.
func ledger(lives []life) []engine.LedgerRow {
	var rows []engine.LedgerRow
	for _, l := range lives {
		row := engine.LedgerRow{Account: l.account, Server: l.server, Task: l.task, Spec: pi4, DiskGB: 20, Kind: engine.LedgerStart}
		for i, from := range l.from {
			row.Time, row.Price = time.Unix(from, 0).UTC(), l.price[i]
			rows = append(rows, row)
			row.Kind = engine.LedgerChange
		}
		if l.end != never {
			row.Time, row.Price, row.Kind = time.Unix(l.end, 0).UTC(), 0, engine.LedgerStop
			rows = append(rows, row)
		}
	}
	slices.SortStableFunc(rows, func(a, b engine.LedgerRow) int { return a.Time.Compare(b.Time) })
	for i := range rows {
		rows[i].ID = int64(i + 1)
	}
	return rows
}

// exact is what a life costs from begin to end in pence × seconds, and how long it
// is there: counted from the life, by other means than the statement.
func (l *life) exact(begin, end int64) (*big.Int, int64) {
	total, seconds := new(big.Int), int64(0)
	for i, price := range l.price {
		until := l.end
		if i+1 < len(l.from) {
			until = l.from[i+1]
		}
		if n := min(until, end) - max(l.from[i], begin); n > 0 {
			seconds += n
			total.Add(total, new(big.Int).Mul(big.NewInt(int64(price)), big.NewInt(n)))
		}
	}
	return total, seconds
}

func mustMake(t *rapid.T, m Month, rows []engine.LedgerRow, until time.Time) Statement {
	t.Helper()
	st, err := Make(m, rows, until)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestLinesAreWhatServersCost compares each server's lines with its life: every
// second is counted once, at its price, and the sum is above it by less than a
// penny for each line.
func TestLinesAreWhatServersCost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lives := drawLives(t)
		m := rapid.SampledFrom(months).Draw(t, "month")
		until := time.Unix(rapid.Int64Range(m.Begin().Unix()+1, m.End().Unix()+86400).Draw(t, "until"), 0)
		st := mustMake(t, m, ledger(lives), until)
		total := engine.Pence(0)
		for _, l := range lives {
			want, seconds := l.exact(m.Begin().Unix(), st.Until.Unix())
			got, n := engine.Pence(0), int64(0)
			for _, line := range st.Lines {
				if line.Task != l.task {
					continue
				}
				if !line.From.Before(line.To) || line.From.Before(m.Begin()) || line.To.After(st.Until) || line.Account != l.account || line.Server != l.server {
					t.Fatalf("line %+v of %+v", line, l)
				}
				seconds -= line.Seconds()
				got += line.Amount
				n++
			}
			if seconds != 0 {
				t.Fatalf("%+v: %d seconds are not counted", l, seconds)
			}
			total += got
			// 0 ≤ got × month − want ≤ n × (month − 1)
			whole := big.NewInt(m.Seconds())
			off := new(big.Int).Mul(big.NewInt(int64(got)), whole)
			off.Sub(off, want)
			if off.Sign() < 0 || off.Cmp(new(big.Int).Mul(big.NewInt(n), big.NewInt(m.Seconds()-1))) > 0 {
				t.Fatalf("%+v: %s in %d lines is too far from %s / %s pence", l, got, n, want, whole)
			}
		}
		if total != st.Total {
			t.Fatalf("total %s, the lines have %s", st.Total, total)
		}
	})
}

// TestLinesAreRoundedUp compares each line with arithmetic on fractions.
func TestLinesAreRoundedUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom(months).Draw(t, "month")
		price := rapid.Int64Range(0, 1<<62).Draw(t, "price")
		part := rapid.Int64Range(0, m.Seconds()).Draw(t, "seconds")
		exact := new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(price), big.NewInt(part)), big.NewInt(m.Seconds()))
		want, rest := new(big.Int).DivMod(exact.Num(), exact.Denom(), new(big.Int))
		if rest.Sign() > 0 {
			want.Add(want, big.NewInt(1))
		}
		if got := share(engine.Pence(price), part, m.Seconds()); int64(got) != want.Int64() {
			t.Fatalf("%d × %d / %d = %d, want %s", price, part, m.Seconds(), got, want)
		}
	})
}

func TestAWholeMonthCostsItsPrice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Month{rapid.IntRange(1970, 9998).Draw(t, "year"), time.Month(rapid.IntRange(1, 12).Draw(t, "month"))}
		price := engine.Pence(rapid.Int64Range(0, 1<<62).Draw(t, "price"))
		rows := ledger([]life{{
			account: "acme", server: "web", task: 1, price: []engine.Pence{price},
			from: []int64{m.Begin().Unix() - rapid.Int64Range(0, 1e8).Draw(t, "before")},
			end:  m.End().Unix() + rapid.SampledFrom([]int64{0, 1, never}).Draw(t, "after"),
		}})
		if st := mustMake(t, m, rows, m.End()); st.Total != price || !st.Over() || len(st.Lines) != 1 {
			t.Fatalf("%s: %s for a price of %s", m, st.Total, price)
		}
	})
}

// TestNothingButTheRowsMatters has the same ledger told in other time zones, read
// by one account's rows or by all, and counted later.
func TestNothingButTheRowsMatters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := ledger(drawLives(t))
		m := rapid.SampledFrom(months).Draw(t, "month")
		st := mustMake(t, m, rows, m.End())
		zone := time.FixedZone("there", rapid.IntRange(-14*3600, 14*3600).Draw(t, "zone"))
		there := slices.Clone(rows)
		for i := range there {
			there[i].Time = there[i].Time.In(zone)
		}
		later := m.End().Add(time.Duration(rapid.Int64Range(0, 1e6).Draw(t, "later")) * time.Second).In(zone)
		if diff := cmp.Diff(st, mustMake(t, m, there, later)); diff != "" {
			t.Fatalf("in %s (-want +got):\n%s", zone, diff)
		}
		var apart []Line
		for _, account := range []string{"acme", "zeta"} {
			own := slices.DeleteFunc(slices.Clone(rows), func(r engine.LedgerRow) bool { return r.Account != account })
			apart = append(apart, mustMake(t, m, own, m.End()).Lines...)
		}
		if diff := cmp.Diff(st.Lines, apart); diff != "" {
			t.Fatalf("account by account (-want +got):\n%s", diff)
		}
	})
}

// TestARowOutOfPlaceIsAnError damages a ledger as a clock that is set back, or a
// write that is done twice, would.
func TestARowOutOfPlaceIsAnError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := ledger(drawLives(t))
		if len(rows) < 2 {
			t.Skip("nothing to put out of place")
		}
		m := rapid.SampledFrom(months).Draw(t, "month")
		i := rapid.IntRange(1, len(rows)-1).Draw(t, "row")
		j := rapid.IntRange(0, i-1).Draw(t, "earlier")
		switch rapid.IntRange(0, 3).Draw(t, "damage") {
		case 0:
			rows[i], rows[j] = rows[j], rows[i]
		case 1:
			rows = slices.Insert(rows, i, rows[j])
		case 2: // the clock went back
			rows[i].Time = rows[j].Time.Add(-time.Duration(rapid.Int64Range(1, 1e6).Draw(t, "step")) * time.Second)
		case 3: // written twice, each with a number of its own
			again := rows[j]
			if again.Kind == engine.LedgerChange {
				t.Skip("a change may be written twice: it costs nothing")
			}
			again.ID, again.Time = rows[len(rows)-1].ID+1, rows[len(rows)-1].Time
			rows = append(rows, again)
		}
		if st, err := Make(m, rows, m.End()); !errors.Is(err, ErrLedger) || st.Total != 0 || len(st.Lines) > 0 {
			t.Fatalf("%+v, %v", st, err)
		}
	})
}

// TestNoRowsMakeItPanic reads rows of any content.
func TestNoRowsMakeItPanic(t *testing.T) {
	kinds := []engine.LedgerKind{engine.LedgerStart, engine.LedgerChange, engine.LedgerStop, ""}
	rapid.Check(t, func(t *rapid.T) {
		var rows []engine.LedgerRow
		for range rapid.IntRange(0, 12).Draw(t, "rows") {
			rows = append(rows, engine.LedgerRow{
				ID: rapid.Int64Range(-1, 12).Draw(t, "id"), Time: time.Unix(rapid.Int64().Draw(t, "time"), rapid.SampledFrom([]int64{0, 0, 1}).Draw(t, "ns")),
				Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Account: rapid.SampledFrom([]string{"acme", ""}).Draw(t, "account"),
				Server: rapid.SampledFrom([]string{"a", "b", ""}).Draw(t, "server"), Task: rapid.Int64Range(-1, 3).Draw(t, "task"),
				Price: engine.Pence(rapid.Int64().Draw(t, "price")),
			})
		}
		m := rapid.SampledFrom(months).Draw(t, "month")
		st, err := Make(m, rows, time.Unix(rapid.Int64().Draw(t, "until"), 0))
		if err != nil && (st.Total != 0 || len(st.Lines) > 0) {
			t.Fatalf("money with an error: %+v, %v", st, err)
		}
		for _, l := range st.Lines {
			if l.Amount < 0 || l.Amount > l.Price {
				t.Fatalf("%+v", l)
			}
		}
	})
}
