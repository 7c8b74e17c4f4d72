package engine

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// ReportSeen is what a board told of itself from the examination system. All of
// it is the board's own word.
type ReportSeen struct {
	Client netip.Addr
	// Done tells that the burn-in is over. Before that it is only under way, and
	// what it found is not told.
	Done bool
	// Refused is why a report does not count, "" = it does; then there is nothing
	// else in it.
	Refused string

	Board  string // what it calls itself, such as "Raspberry Pi 4 Model B Rev 1.5", "" = not told
	Model  Model  // ModelUnknown = not told, or none that the rack knows
	Serial uint32 // low half, 0 = not told
	MAC    MAC
	Memory int // MB that its system finds
	Sold   int // MB that its revision code tells, 0 = not told
	Cores  int

	Heat      int // highest temperature in thousandths of a degree, if HasHeat
	HasHeat   bool
	Throttled Throttled // if HasThrottled
	// HasThrottled tells that the firmware said whether it held the board back.
	HasThrottled bool

	Burned       time.Duration // of the burn-in
	Computed     int           // results that were compared
	Miscomputed  int           // of these, those that were wrong
	Checked      int           // MB of memory that were written and read back
	Miswritten   int           // blocks of memory that read back otherwise
	Shortcomings string        // what of the examination could not be done, "" = nothing
}

// Throttled is what the firmware has done to keep a board alive
// (raspberrypi/documentation, os/using/vcgencmd, "get_throttled"): bits 0 to 3
// are what it does now, bits 16 to 19 what it has done since the start.
type Throttled uint32

// What the firmware tells.
const (
	UnderVoltage Throttled = 1<<0 | 1<<16
	Slowed       Throttled = 1<<2 | 1<<18
)

// hottest is the temperature at which the firmware begins to slow a board down
// (raspberrypi/documentation, config_txt/overclocking, "Monitoring core
// temperature": 80 to 85 °C), in thousandths of a degree.
const hottest = 80_000

// Bounds of what a board draws under load, in milliwatts. The upper one is half
// as much again as the board alone may draw, for HAT and fan.
const (
	leastDraw   = 1000
	drawReserve = 1500 // milliwatts for each watt of the board
)

// finding is one reason why a board is not fit for use.
type finding func(p *piState, s *ReportSeen) string

// findings are looked at in this order; all that apply are told.
var findings = []finding{
	findOther, findUnnamed, findShortcomings, findMemory, findMiswritten, findMiscomputed, findHeat, findVoltage, findSlowed, findDraw,
}

// judge says why the board is not fit for use, "" = it is.
func judge(p *piState, s *ReportSeen) string {
	var list []string
	for _, find := range findings {
		if why := find(p, s); why != "" {
			list = append(list, why)
		}
	}
	return strings.Join(list, "; ")
}

// findOther notices a board that is not the one the place has.
func findOther(p *piState, s *ReportSeen) string {
	switch {
	case s.MAC != p.MAC:
		return fmt.Sprintf("wrong board: it has the address %s, and %s was let in", s.MAC, p.MAC)
	case s.Serial != 0 && p.Serial != 0 && s.Serial != p.Serial:
		return fmt.Sprintf("wrong board: its serial number is %08x, and %08x is known here", s.Serial, p.Serial)
	}
	return ""
}

// findUnnamed notices a board that no root could be chosen for.
func findUnnamed(p *piState, s *ReportSeen) string {
	if cmp.Or(s.Model, p.Model) != ModelUnknown {
		return ""
	}
	return fmt.Sprintf("its model is not known: it calls itself %q", s.Board)
}

func findShortcomings(_ *piState, s *ReportSeen) string {
	switch {
	case s.Shortcomings != "":
		return "it could not be examined whole: " + s.Shortcomings
	case s.Computed == 0 || s.Checked == 0:
		return "it could not be examined whole: nothing was computed, or no memory checked"
	}
	return ""
}

// findMemory notices a board of which a part of the memory is missing.
func findMemory(_ *piState, s *ReportSeen) string {
	if has := s.nominal(); has < s.Sold {
		return fmt.Sprintf("memory: it finds %d MB of its %d MB", s.Memory, s.Sold)
	}
	return ""
}

func findMiswritten(_ *piState, s *ReportSeen) string {
	if s.Miswritten == 0 {
		return ""
	}
	return fmt.Sprintf("memory error: %d of the blocks in %d MB read back otherwise than written", s.Miswritten, s.Checked)
}

func findMiscomputed(_ *piState, s *ReportSeen) string {
	if s.Miscomputed == 0 {
		return ""
	}
	return fmt.Sprintf("processor or memory error: %d of %d results were wrong", s.Miscomputed, s.Computed)
}

func findHeat(_ *piState, s *ReportSeen) string {
	if !s.HasHeat || s.Heat < hottest {
		return ""
	}
	return fmt.Sprintf("too hot: %s after %s of work, and %s is where it is slowed down", degrees(s.Heat), s.Burned, degrees(hottest))
}

func findVoltage(_ *piState, s *ReportSeen) string {
	if !s.HasThrottled || s.Throttled&UnderVoltage == 0 {
		return ""
	}
	return "under-voltage: its firmware saw too little of it"
}

func findSlowed(_ *piState, s *ReportSeen) string {
	if !s.HasThrottled || s.Throttled&Slowed == 0 {
		return ""
	}
	return "its firmware slowed it down, for want of power or for heat"
}

// findDraw notices a board that takes more or less of the switch than its model
// can, if the switch tells.
func findDraw(p *piState, s *ReportSeen) string {
	peak := p.facts.peak
	most := boardInfos[cmp.Or(s.Model, p.Model)].watts * drawReserve
	switch {
	case peak == 0 || most == 0:
		return ""
	case peak < leastDraw:
		return fmt.Sprintf("power: it drew %s W at most under load, which no board can do with", watts(peak))
	case peak > most:
		return fmt.Sprintf("power: it drew %s W, and no more than %s W is to be expected of a %s", watts(peak), watts(most), cmp.Or(s.Model, p.Model))
	}
	return ""
}

// nominal is the memory as it is sold: the firmware and the kernel keep some for
// themselves.
func (s *ReportSeen) nominal() int {
	if s.Memory <= 0 {
		return 0
	}
	size := 256
	for size < s.Memory {
		size *= 2
	}
	return size
}

// summary is what people want to know of a board.
func (s *ReportSeen) summary(peak int) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	add("%s", cmp.Or(s.Board, "a board that does not say what it is"))
	if s.Serial != 0 {
		add("serial %08x", s.Serial)
	}
	add("%d MB", cmp.Or(s.Sold, s.nominal()))
	if s.HasHeat {
		add("at most %s", degrees(s.Heat))
	}
	if peak > 0 {
		add("%s W", watts(peak))
	}
	if s.Done {
		add("%d MB and %d results checked in %s", s.Checked, s.Computed, s.Burned)
	}
	return strings.Join(parts, ", ")
}

func degrees(milli int) string { return fmt.Sprintf("%.1f °C", float64(milli)/1000) }

func watts(milli int) string { return fmt.Sprintf("%.1f", float64(milli)/1000) }
