package bill

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// Version is that of the encodings.
const Version = 1

// currency is what Pence are hundredths of.
const currency = "GBP"

// csvColumns are the columns of the CSV, each with how it is filled.
var csvColumns = []struct {
	name string
	of   func(*Statement, *Line) string
}{
	{"version", func(*Statement, *Line) string { return strconv.Itoa(Version) }},
	{"month", func(s *Statement, _ *Line) string { return s.Month.String() }},
	{"until", func(s *Statement, _ *Line) string { return stamp(s.Until) }},
	{"over", func(s *Statement, _ *Line) string { return strconv.FormatBool(s.Over()) }},
	{"account", func(_ *Statement, l *Line) string { return text(l.Account) }},
	{"server", func(_ *Statement, l *Line) string { return text(l.Server) }},
	{"order", func(_ *Statement, l *Line) string { return strconv.FormatInt(l.Task, 10) }},
	{"from", func(_ *Statement, l *Line) string { return stamp(l.From) }},
	{"to", func(_ *Statement, l *Line) string { return stamp(l.To) }},
	{"seconds", func(_ *Statement, l *Line) string { return strconv.FormatInt(l.Seconds(), 10) }},
	{"model", func(_ *Statement, l *Line) string { return strconv.Itoa(l.Spec.Model) }},
	{"memory_mb", func(_ *Statement, l *Line) string { return strconv.Itoa(l.Spec.Memory) }},
	{"cpu_mhz", func(_ *Statement, l *Line) string { return strconv.Itoa(l.Spec.CPU) }},
	{"nic_mbits", func(_ *Statement, l *Line) string { return strconv.Itoa(l.Spec.NIC) }},
	{"disk_gb", func(_ *Statement, l *Line) string { return strconv.Itoa(l.DiskGB) }},
	{"month_price_gbp", func(_ *Statement, l *Line) string { return l.Price.String() }},
	{"amount_gbp", func(_ *Statement, l *Line) string { return l.Amount.String() }},
}

// WriteCSV writes a statement as CSV by RFC 4180: a line of column names, then a
// line for each Line, ended by CR LF. Columns, all of them always there:
//
//	version          1
//	month            2026-11, in UTC
//	until            the time to which the month is counted
//	over             true, or false: the month is not over, and amounts may grow
//	account, server  whose, and which
//	order            number of the server's order: tells it from a later one of its name
//	from, to         RFC 3339 in UTC; to is the first second that is not counted
//	seconds          from from to to
//	model            generation of the board: 3, 4, 5
//	memory_mb, cpu_mhz, nic_mbits, disk_gb
//	month_price_gbp  of a whole month, pounds with two decimals
//	amount_gbp       of this line, pounds with two decimals
//
// There is no line of totals: amount_gbp may be summed up. A text that a
// spreadsheet would take for a formula has an apostrophe before it.
func WriteCSV(w io.Writer, s *Statement) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	record := make([]string, len(csvColumns))
	for i, c := range csvColumns {
		record[i] = c.name
	}
	_ = out.Write(record) // its error stays until Flush
	for n := range s.Lines {
		for i, c := range csvColumns {
			record[i] = c.of(s, &s.Lines[n])
		}
		_ = out.Write(record)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write the statement of %s: %w", s.Month, err)
	}
	return nil
}

// text makes a name safe in a spreadsheet and on a terminal. What begins a formula
// is after OWASP, "CSV Injection": = + - @ and their full-width forms; control
// characters are none any more by then.
func text(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if strings.IndexAny(strings.TrimLeft(s, " "), "=+-@＝＋－＠") == 0 {
		return "'" + s
	}
	return s
}
