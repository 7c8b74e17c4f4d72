package report

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// ErrInvalid means that a text is no report; the error says which line is wrong.
var ErrInvalid = errors.New("invalid report")

// MaxBytes is the length of the longest report.
const MaxBytes = 4096

// Report is what a board tells of itself.
type Report struct {
	// Done tells that the burn-in is over: only then is there a result of it.
	Done bool
	// Board is the model's name as the device tree has it, "" = it has none.
	Board string
	// Revision is the board's revision code, 0 = not told, and Serial its serial
	// number.
	Revision uint32
	Serial   uint64
	MAC      [6]byte
	// MemoryKB is MemTotal of /proc/meminfo.
	MemoryKB int
	Cores    int
	// Heat is the highest temperature so far in thousandths of a degree.
	Heat    int
	HasHeat bool
	// Throttled is what the firmware's get_throttled tells.
	Throttled    uint32
	HasThrottled bool
	// Burned is how long the burn-in took, in whole seconds.
	Burned time.Duration
	// Computed are results that were compared and Miscomputed those of them that
	// were wrong; CheckedMB is memory that was written and read back, in blocks of
	// which Miswritten were not as written.
	Computed, Miscomputed, CheckedMB, Miswritten int
	// Trouble is what could not be done, "" = nothing.
	Trouble string
}

// maxText bounds texts, and maxNumber numbers, in what a board tells.
const (
	maxText   = 100
	maxNumber = 1 << 30
)

// line is one that a report may have: what reads its value, and what writes it,
// "" = not at all.
type line struct {
	key   string
	read  func(r *Report, value string) error
	write func(r *Report) string
}

// Phases of an examination.
const (
	phaseBegin = "begin"
	phaseEnd   = "end"
)

var lines = []line{
	{"phase", (*Report).readPhase, func(r *Report) string {
		if r.Done {
			return phaseEnd
		}
		return phaseBegin
	}},
	{"board", text(func(r *Report) *string { return &r.Board }), func(r *Report) string { return r.Board }},
	{"revision", (*Report).readRevision, func(r *Report) string { return orNone(r.Revision != 0, "%x", r.Revision) }},
	{"serial", (*Report).readSerial, func(r *Report) string { return orNone(r.Serial != 0, "%016x", r.Serial) }},
	{"mac", (*Report).readMAC, func(r *Report) string { return net.HardwareAddr(r.MAC[:]).String() }},
	number("memory", func(r *Report) *int { return &r.MemoryKB }),
	number("cores", func(r *Report) *int { return &r.Cores }),
	{"heat", (*Report).readHeat, func(r *Report) string { return orNone(r.HasHeat, "%d", r.Heat) }},
	{"throttled", (*Report).readThrottled, func(r *Report) string { return orNone(r.HasThrottled, "%x", r.Throttled) }},
	{"burned", (*Report).readBurned, func(r *Report) string { return orNone(r.Burned != 0, "%d", r.Burned/time.Second) }},
	number("computed", func(r *Report) *int { return &r.Computed }),
	number("miscomputed", func(r *Report) *int { return &r.Miscomputed }),
	number("checked", func(r *Report) *int { return &r.CheckedMB }),
	number("miswritten", func(r *Report) *int { return &r.Miswritten }),
	{"trouble", text(func(r *Report) *string { return &r.Trouble }), func(r *Report) string { return r.Trouble }},
}

func orNone(there bool, format string, v any) string {
	if !there {
		return ""
	}
	return fmt.Sprintf(format, v)
}

// required are the lines that no report can do without.
var required = []string{"phase", "mac", "memory"}

// Parse reads a report. Every line is one that it knows, and there once. Errors:
// [ErrInvalid].
func Parse(b []byte) (Report, error) {
	r, err := parse(b)
	if err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return r, nil
}

func parse(b []byte) (Report, error) {
	var r Report
	if len(b) > MaxBytes {
		return r, fmt.Errorf("%d octets, at most %d are read", len(b), MaxBytes)
	}
	seen := make(map[string]bool, len(lines))
	n := 0
	for l := range bytes.Lines(b) {
		n++
		key, value, ok := strings.Cut(strings.TrimSuffix(string(l), "\n"), "=")
		at := find(key)
		switch {
		case !ok || at == nil:
			return r, fmt.Errorf("line %d (%+.20q) is none of a report's", n, key)
		case seen[key]:
			return r, fmt.Errorf("line %d: a second %s", n, key)
		}
		seen[key] = true
		if err := at.read(&r, value); err != nil {
			return r, fmt.Errorf("line %d: %s=%+.40q: %w", n, key, value, err)
		}
	}
	for _, key := range required {
		if !seen[key] {
			return r, fmt.Errorf("it has no %s", key)
		}
	}
	return r, nil
}

func find(key string) *line {
	for i := range lines {
		if lines[i].key == key {
			return &lines[i]
		}
	}
	return nil
}

// Text writes the report as [Parse] reads it. Characters of its texts that no
// report may have become "?", and what is too long is cut.
func (r Report) Text() []byte {
	var b []byte
	for _, l := range lines {
		if v := l.write(&r); v != "" {
			b = fmt.Appendf(b, "%s=%s\n", l.key, clean(v))
		}
	}
	return b
}

func clean(s string) string {
	b := []byte(s[:min(len(s), maxText)])
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

var (
	errText   = fmt.Errorf("want 1 to %d characters of printable ASCII", maxText)
	errNumber = fmt.Errorf("want a number from 0 to %d", maxNumber)
	errHex    = errors.New("want hexadecimal digits")
	errPhase  = errors.New("want " + phaseBegin + " or " + phaseEnd)
	errMAC    = errors.New("want a hardware address of 6 octets, with colons")
	errHeat   = errors.New("want thousandths of a degree, from -100 to 200 degrees")
	errBurned = errors.New("want seconds, 1 to 86400")
)

// text reads printable ASCII.
func text(field func(*Report) *string) func(*Report, string) error {
	return func(r *Report, v string) error {
		if v == "" || len(v) > maxText || clean(v) != v {
			return errText
		}
		*field(r) = v
		return nil
	}
}

// number is a line with a number that is 0 if it is not told.
func number(key string, field func(*Report) *int) line {
	read := func(r *Report, v string) error {
		n, err := decimal(v)
		*field(r) = n
		return err
	}
	return line{key, read, func(r *Report) string { return strconv.Itoa(*field(r)) }}
}

func decimal(v string) (int, error) {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil || n > maxNumber {
		return 0, errNumber
	}
	return int(n), nil
}

func hex(v string, bits int) (uint64, error) {
	n, err := strconv.ParseUint(v, 16, bits)
	if err != nil || len(v) > bits/4 {
		return 0, errHex
	}
	return n, nil
}

func (r *Report) readPhase(v string) error {
	if v != phaseBegin && v != phaseEnd {
		return errPhase
	}
	r.Done = v == phaseEnd
	return nil
}

func (r *Report) readRevision(v string) error {
	n, err := hex(v, 32)
	r.Revision = uint32(n)
	return err
}

func (r *Report) readSerial(v string) (err error) {
	r.Serial, err = hex(v, 64)
	return err
}

func (r *Report) readMAC(v string) error {
	mac, err := net.ParseMAC(v)
	if err != nil || len(mac) != len(r.MAC) || mac.String() != v {
		return errMAC
	}
	r.MAC = [6]byte(mac)
	return nil
}

func (r *Report) readHeat(v string) error {
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n < -100_000 || n > 200_000 {
		return errHeat
	}
	r.Heat, r.HasHeat = int(n), true
	return nil
}

func (r *Report) readThrottled(v string) error {
	n, err := hex(v, 32)
	r.Throttled, r.HasThrottled = uint32(n), err == nil
	return err
}

func (r *Report) readBurned(v string) error {
	n, err := decimal(v)
	if err != nil || n < 1 || n > 86400 {
		return errBurned
	}
	r.Burned = time.Duration(n) * time.Second
	return nil
}
