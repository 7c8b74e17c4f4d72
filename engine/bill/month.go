package bill

import (
	"errors"
	"fmt"
	"time"
)

// Month is a calendar month in UTC.
type Month struct {
	Year  int
	Month time.Month
}

// Errors of a month, for errors.Is.
var (
	ErrMonth    = errors.New("no month: want a year and a month such as 2026-11")
	ErrNotBegun = errors.New("the month has not begun")
)

const monthLayout = "2006-01"

// ParseMonth reads a month such as "2026-11".
func ParseMonth(s string) (Month, error) {
	t, err := time.Parse(monthLayout, s)
	if err != nil || len(s) != len(monthLayout) || t.Year() == 0 {
		return Month{}, fmt.Errorf("%.40q: %w", s, ErrMonth)
	}
	return MonthOf(t), nil
}

// MonthOf is the month that t is in.
func MonthOf(t time.Time) Month {
	t = t.UTC()
	return Month{t.Year(), t.Month()}
}

// String gives "2026-11".
func (m Month) String() string { return m.Begin().Format(monthLayout) }

// Begin is its first second.
func (m Month) Begin() time.Time { return time.Date(m.Year, m.Month, 1, 0, 0, 0, 0, time.UTC) }

// End is the first second of the next month.
func (m Month) End() time.Time { return time.Date(m.Year, m.Month+1, 1, 0, 0, 0, 0, time.UTC) }

// Seconds is how long it is.
func (m Month) Seconds() int64 { return m.End().Unix() - m.Begin().Unix() }
