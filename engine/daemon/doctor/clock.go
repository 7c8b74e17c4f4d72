package doctor

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Clock is what the kernel says of its clock.
type Clock struct {
	Synchronised bool // STA_UNSYNC of adjtimex(2) is not set
}

// ReadClock asks the kernel.
func ReadClock() (Clock, error) {
	var t unix.Timex // modes 0: nothing is set
	if _, err := unix.Adjtimex(&t); err != nil {
		return Clock{}, err
	}
	return Clock{Synchronised: t.Status&unix.STA_UNSYNC == 0}, nil
}

// The years in which this program can be running.
const firstYear, lastYear = 2026, 2100

// checkClock: the clock stamps every boot, audit row and backup, and a Pi
// without a clock of its own believes it.
func checkClock(_ context.Context, e *Env) []Finding {
	now := e.Now()
	if y := now.Year(); y < firstYear || y > lastYear {
		return []Finding{failf("", "timedatectl set-ntp true, or date -s", "the year is %d", y)}
	}
	if info, err := os.Stat(e.Database); err == nil && info.ModTime().Sub(now) > time.Hour {
		return []Finding{failf("", "timedatectl set-ntp true, or date -s", "the clock was set back: the database was written at %s, and now is %s",
			info.ModTime().Format(time.DateTime), now.Format(time.DateTime))}
	}
	c, err := e.Clock()
	switch {
	case err != nil:
		return []Finding{warnf("", "", "whether the clock is right cannot be told: %v", err)}
	case !c.Synchronised:
		return []Finding{warnf("", "timedatectl set-ntp true (needs systemd-timesyncd or chrony)", "the clock is not synchronised")}
	}
	return []Finding{okf("", "synchronised, %s", now.UTC().Format("2006-01-02 15:04 MST"))}
}
