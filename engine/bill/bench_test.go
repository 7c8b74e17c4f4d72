package bill

import (
	"testing"

	"picloud/engine"
)

// BenchmarkMake has 900 servers whose disk grew ten times each.
func BenchmarkMake(b *testing.B) {
	var rows []engine.LedgerRow
	for change := range 10 {
		for server := range int64(900) {
			r := row(int64(len(rows)+1), "2026-01-01 00:00:00", engine.LedgerChange, string(rune('a'+server)), server+1, engine.Pence(600+50*change))
			if change == 0 {
				r.Kind = engine.LedgerStart
			}
			r.Time = r.Time.AddDate(0, change, 0)
			rows = append(rows, r)
		}
	}
	for b.Loop() {
		if st, err := Make(november, rows, november.End()); err != nil || st.Total != 900*1050 {
			b.Fatal(st.Total, err)
		}
	}
}
