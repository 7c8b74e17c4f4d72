package tui

import (
	"strings"

	"charm.land/lipgloss/v2"

	"picloud/engine"
)

// style names what a piece of text means. Colours are ANSI 0-15, so that the
// terminal's own palette decides how they look; each meaning also has a
// letter, a word, bold or reverse video.
type style uint8

const (
	plain  style = iota
	quiet        // rules, labels, what cannot be used now
	strong       // headings and names
	ok           // up
	busy         // booting, a job
	warn         // needs a look: unknown, another board
	bad          // failed
	alarm        // a stalled Pi, FAIL
	ask          // a running guard
	chosen       // the cursor
	styleCount
)

// sgr holds the escape sequence that starts each style.
type sgr [styleCount]string

const sgrReset = "\x1b[m"

// newSGR renders each style once; View only copies bytes.
func newSGR() sgr {
	s := lipgloss.NewStyle
	looks := [styleCount]lipgloss.Style{
		quiet:  s().Faint(true),
		strong: s().Bold(true),
		ok:     s().Foreground(lipgloss.Green),
		busy:   s().Foreground(lipgloss.Cyan),
		warn:   s().Foreground(lipgloss.Yellow),
		bad:    s().Foreground(lipgloss.Red).Bold(true),
		alarm:  s().Foreground(lipgloss.Red).Bold(true).Reverse(true),
		ask:    s().Foreground(lipgloss.Yellow).Bold(true).Reverse(true),
		chosen: s().Reverse(true),
	}
	var out sgr
	for i, look := range looks {
		out[i], _, _ = strings.Cut(look.Render("x"), "x")
	}
	return out
}

var stageStyles = [...]style{
	engine.StageOff:      plain,
	engine.StagePower:    busy,
	engine.StageDHCP:     busy,
	engine.StageFirmware: busy,
	engine.StageKernel:   busy,
	engine.StageRoot:     busy,
	engine.StageUp:       ok,
	engine.StageStalled:  alarm,
	engine.StageUnknown:  warn,
}

func stageStyle(s engine.Stage) style {
	if int(s) >= len(stageStyles) {
		return warn
	}
	return stageStyles[s]
}

// glyphs are the characters beyond ASCII, with their replacements.
type glyphs struct {
	rule     string // horizontal line, long enough for any terminal
	ruleUnit int    // bytes of one character of rule
	bar      string // vertical line
	ellipsis string
	dash     string
	arrow    string // between where something comes from and where it goes
	barDone  string // a part of a progress bar that is done
	barLeft  string // and one that is not
}

const maxWidth = 1000 // columns beyond are left empty

func newGlyphs(ascii bool) glyphs {
	if ascii {
		return glyphs{rule: strings.Repeat("-", maxWidth), ruleUnit: 1, bar: "|", ellipsis: "~", dash: "-", arrow: ">", barDone: "#", barLeft: "."}
	}
	return glyphs{rule: strings.Repeat("─", maxWidth), ruleUnit: len("─"), bar: "│", ellipsis: "…", dash: "-", arrow: "→", barDone: "■", barLeft: "·"}
}
