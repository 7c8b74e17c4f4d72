package bill

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"picloud/engine"
)

// example has two accounts, a price that changed and a month that is not over.
func example(t *testing.T) Statement {
	t.Helper()
	rows := []engine.LedgerRow{
		row(1, "2026-10-20 09:30:00", engine.LedgerStart, "web", 1, 650),
		row(2, "2026-11-03 00:00:00", engine.LedgerStart, "db", 2, 1200),
		row(3, "2026-11-10 06:00:00", engine.LedgerChange, "web", 1, 800),
		row(4, "2026-11-12 00:00:00", engine.LedgerStop, "db", 2, 0),
	}
	rows[1].Account, rows[3].Account = "zeta", "zeta"
	rows[1].Spec, rows[1].DiskGB = pi4, 20
	rows[2].DiskGB = 40
	st, err := Make(november, rows, at("2026-11-20 00:00:00"))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestCSV(t *testing.T) {
	st := example(t)
	var got bytes.Buffer
	if err := WriteCSV(&got, &st); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"version,month,until,over,account,server,order,from,to,seconds,model,memory_mb,cpu_mhz,nic_mbits,disk_gb,month_price_gbp,amount_gbp",
		"1,2026-11,2026-11-20T00:00:00Z,false,acme,web,1,2026-11-01T00:00:00Z,2026-11-10T06:00:00Z,799200,3,1024,1200,100,10,6.50,2.01",
		"1,2026-11,2026-11-20T00:00:00Z,false,acme,web,1,2026-11-10T06:00:00Z,2026-11-20T00:00:00Z,842400,3,1024,1200,100,40,8.00,2.60",
		"1,2026-11,2026-11-20T00:00:00Z,false,zeta,db,2,2026-11-03T00:00:00Z,2026-11-12T00:00:00Z,777600,4,4096,1500,1000,20,12.00,3.60",
		"",
	}, "\r\n")
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestJSON(t *testing.T) {
	st := example(t)
	got, err := json.MarshalIndent(st.JSON(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
 "version": 1,
 "month": "2026-11",
 "from": "2026-11-01T00:00:00Z",
 "until": "2026-11-20T00:00:00Z",
 "over": false,
 "month_seconds": 2592000,
 "currency": "GBP",
 "accounts": [
  {
   "account": "acme",
   "lines": [
    {
     "server": "web",
     "order": 1,
     "from": "2026-11-01T00:00:00Z",
     "to": "2026-11-10T06:00:00Z",
     "seconds": 799200,
     "model": 3,
     "memory_mb": 1024,
     "cpu_mhz": 1200,
     "nic_mbits": 100,
     "disk_gb": 10,
     "month_price": "6.50",
     "amount": "2.01"
    },
    {
     "server": "web",
     "order": 1,
     "from": "2026-11-10T06:00:00Z",
     "to": "2026-11-20T00:00:00Z",
     "seconds": 842400,
     "model": 3,
     "memory_mb": 1024,
     "cpu_mhz": 1200,
     "nic_mbits": 100,
     "disk_gb": 40,
     "month_price": "8.00",
     "amount": "2.60"
    }
   ],
   "total": "4.61"
  },
  {
   "account": "zeta",
   "lines": [
    {
     "server": "db",
     "order": 2,
     "from": "2026-11-03T00:00:00Z",
     "to": "2026-11-12T00:00:00Z",
     "seconds": 777600,
     "model": 4,
     "memory_mb": 4096,
     "cpu_mhz": 1500,
     "nic_mbits": 1000,
     "disk_gb": 20,
     "month_price": "12.00",
     "amount": "3.60"
    }
   ],
   "total": "3.60"
  }
 ],
 "total": "8.21"
}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCSVOfAnyNames holds what a spreadsheet is given to be no formula, and to
// come back as it was but for what is made safe.
func TestCSVOfAnyNames(t *testing.T) {
	name := rapid.OneOf(rapid.StringN(1, 20, -1), rapid.SampledFrom([]string{
		"=1+1", "+44", "-web", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1+1", "＝1", `a"b`, "a,b", "a\r\nb", "\x1b]0;pwned\x07", "\u202eevil", "web-1",
	}))
	rapid.Check(t, func(t *rapid.T) {
		r := row(1, "2026-11-01 00:00:00", engine.LedgerStart, name.Draw(t, "server"), 1, 625)
		r.Account = name.Draw(t, "account")
		st, err := Make(november, []engine.LedgerRow{r}, november.End())
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := WriteCSV(&b, &st); err != nil {
			t.Fatal(err)
		}
		records, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(records) != 2 || len(records[1]) != len(csvColumns) {
			t.Fatalf("%q, %v", records, err)
		}
		for _, field := range records[1] {
			bare := strings.TrimSpace(field)
			if bare != "" && strings.ContainsRune("=+-@＝＋－＠", []rune(bare)[0]) || strings.ContainsFunc(field, func(c rune) bool { return !unicode.IsPrint(c) }) {
				t.Fatalf("a field is %q", field)
			}
		}
		if plain := strings.Trim(r.Server, "abcdefghijklmnopqrstuvwxyz") == ""; plain && records[1][5] != r.Server {
			t.Fatalf("%q became %q", r.Server, records[1][5])
		}
	})
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestCSVThatCannotBeWritten(t *testing.T) {
	st := example(t)
	if err := WriteCSV(failing{}, &st); err == nil || !strings.Contains(err.Error(), "2026-11: no room") {
		t.Error(err)
	}
}

// book is a ledger in memory.
type book struct {
	rows   []engine.LedgerRow
	billed time.Time
	err    error
}

func (b book) Billed() time.Time { return b.billed }

func (b book) Ledger(_ context.Context, account string, until time.Time) ([]engine.LedgerRow, error) {
	var out []engine.LedgerRow
	for _, r := range b.rows {
		if r.Time.Before(until) && (account == "" || r.Account == account) {
			out = append(out, r)
		}
	}
	return out, b.err
}

func TestRead(t *testing.T) {
	b := book{rows: []engine.LedgerRow{
		row(1, "2026-11-01 00:00:00", engine.LedgerStart, "web", 1, 3000),
		row(2, "2026-11-02 00:00:00", engine.LedgerStart, "db", 2, 3000),
		row(3, "2026-12-05 00:00:00", engine.LedgerStop, "web", 1, 0),
	}}
	b.rows[1].Account = "zeta"
	for _, tc := range []struct {
		billed, account, month string // month "" = usage
		want, total            string
		over                   bool
		err                    error
	}{
		{"2026-11-01 00:00:00", "", "2026-11", "", "", false, ErrNotBegun},
		{"2026-11-03 00:00:00", "", "2026-11", "2026-11", "3.00", false, nil},
		{"2026-11-03 00:00:00", "zeta", "2026-11", "2026-11", "1.00", false, nil},
		{"2026-11-03 00:00:00", "acme", "", "2026-11", "2.00", false, nil},
		{"2026-12-01 00:00:00", "acme", "", "2026-11", "30.00", true, nil}, // of December there is nothing yet
		{"2026-12-01 00:00:01", "acme", "", "2026-12", "0.01", false, nil},
		{"2027-02-01 00:00:00", "acme", "2026-11", "2026-11", "30.00", true, nil},
		{"2027-02-01 00:00:00", "nobody", "2026-11", "2026-11", "0.00", true, nil},
	} {
		b.billed = at(tc.billed)
		st, err := Usage(t.Context(), b, tc.account)
		if tc.month != "" {
			m, bad := ParseMonth(tc.month)
			if bad != nil {
				t.Fatal(bad)
			}
			st, err = Read(t.Context(), b, tc.account, m)
		}
		if !errors.Is(err, tc.err) {
			t.Errorf("%+v: %v", tc, err)
		}
		if err == nil && (st.Month.String() != tc.want || st.Total.String() != tc.total || st.Over() != tc.over) {
			t.Errorf("%+v: %s of %s, over %t", tc, st.Total, st.Month, st.Over())
		}
	}
	b.err = errors.New("disk on fire")
	if _, err := Usage(t.Context(), b, ""); !errors.Is(err, b.err) {
		t.Error(err)
	}
}

func TestPrices(t *testing.T) {
	rules := engine.Rules{Disk: 50, Plans: []engine.Plan{
		{Spec: engine.Spec{Model: 4, Memory: 8192}, Month: 1400}, {Spec: engine.Spec{Model: 4}, Month: 900}, {Spec: engine.Spec{Model: 3}, Month: 575},
	}}
	eight := pi4
	eight.Memory = 8192
	five := engine.Spec{Model: 5, Memory: 8192, CPU: 2400, NIC: 1000}
	want := PricesJSON{Version: 1, Currency: "GBP", Disk: "0.50", Prices: []PriceJSON{
		{3, 1024, 1200, 100, 10, "6.25"}, {4, 4096, 1500, 1000, 10, "9.50"}, {4, 8192, 1500, 1000, 10, "14.50"},
	}}
	if diff := cmp.Diff(want, Prices(&rules, []engine.Spec{pi3, pi4, eight, five})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := Prices(&engine.Rules{}, []engine.Spec{pi3}); got.Prices == nil || len(got.Prices) > 0 {
		t.Errorf("without plans: %+v", got)
	}
}
