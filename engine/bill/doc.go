// Package bill makes monthly statements out of the ledger, and price lists out of
// the rules. Statements are a pure function of the ledger's rows: the same rows
// give the same statement, on any machine and in any time zone.
//
// # How it counts
//
// A month is a calendar month in UTC, from its first second to the first of the
// next. It has days × 86,400 seconds: leap seconds are none. A server costs from
// the time of its start (it was live) to the time of its stop (its release was
// accepted), to the second. Each interval with one price is a line, and a line is
//
//	amount = price of a month × seconds of the line ÷ seconds of the month
//
// rounded up to whole pence, once a line: a server that is had for minutes again
// and again costs something, too. So a server that is there for the whole month
// costs exactly its monthly price, and a line is less than a penny above the exact
// amount. Totals are sums of the lines as
// they are printed. Amounts are whole pence in integers throughout.
//
// Intervals of the same server, price, board and disk that follow one another are
// one line. One of no seconds is none.
//
// A month that is not over is counted to a time that is told, and marked.
//
// # What is not counted
//
// Rows that do not fit together (out of order, twice, two servers of one name at
// once, a stop without a start) are errors that name each row: there is no
// statement then, rather than a wrong one.
//
// # Encodings
//
// CSV and JSON have a version, now 1. It grows when a column or a field goes or
// changes its meaning; new ones may come without, columns at the end.
package bill
