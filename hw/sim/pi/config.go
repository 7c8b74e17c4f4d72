package pi

import (
	"slices"
	"strings"

	"picloud/netboot/bootfs/order"
)

// settings are what the firmware heeds of config.txt (documentation
// config_txt/boot.adoc and conditional.adoc).
type settings struct {
	kernel        string
	autoInitramfs bool
	// initramfs are the files that a line names, which are loaded one after the
	// other as if they were one.
	initramfs []string
	overlays  []string
}

// sections are the conditional sections that apply to a family.
var sections = map[order.Family][]string{
	order.Pi3B:     {"all", "pi3"},
	order.Pi3BPlus: {"all", "pi3", "pi3+"},
	order.Pi4B:     {"all", "pi4"},
	order.Pi5:      {"all", "pi5"},
}

// maxOverlays bounds how many overlays a board asks for, and maxInitramfs how many
// parts an initramfs has.
const (
	maxOverlays  = 32
	maxInitramfs = 8
)

// read takes over the settings of a config.txt; those of an earlier reading are
// forgotten.
func (s *settings) read(text string, f order.Family) {
	*s = settings{}
	active := true
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok {
			active = slices.Contains(sections[f], strings.TrimSuffix(name, "]"))
			continue
		}
		if !active {
			continue
		}
		// The one line without "=": initramfs FILE[,FILE...] [ADDRESS].
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "initramfs" {
			names := strings.Split(f[1], ",")
			s.initramfs = names[:min(len(names), maxInitramfs)]
		} else if key, value, ok := strings.Cut(line, "="); ok {
			s.set(strings.TrimSpace(key), strings.TrimSpace(value))
		}
	}
}

func (s *settings) set(key, value string) {
	switch key {
	case "kernel":
		s.kernel = value
	case "auto_initramfs":
		s.autoInitramfs = value == "1"
	case "dtoverlay":
		name, _, _ := strings.Cut(value, ",")
		if name != "" && len(s.overlays) < maxOverlays {
			s.overlays = append(s.overlays, name)
		}
	}
}
