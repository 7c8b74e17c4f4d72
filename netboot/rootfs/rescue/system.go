package rescue

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// System is what a Pi runs from memory.
type System string

const (
	// Rescue lets those in who have a server whose own root does not start.
	Rescue System = "rescue"
	// Examination looks at a board that nobody has, works it hard, and tells the
	// file server (see package report). Nobody can log in, and nothing is mounted.
	Examination System = "exam"
)

// parts are what a system is made of, besides the kernel's modules' own needs.
type parts struct {
	initramfs string   // its name in a boot folder: no Debian or Raspberry Pi OS has such a file
	args      []string // for the command line
	shell     string   // that /init is for, by the path that is in it
	needed    []program
	useful    [][]program
	others    []program
	login     bool // SSH, with all that it needs
	data      []string
	modules   []string
	// must is a module without which a kernel is of no use, "" = none.
	must     string
	folders  []ownFolder
	embedded []ownFile
	texts    []ownText
}

var systems = map[System]parts{
	Rescue: {
		initramfs: "initramfs-rescue",
		// Both are for when something is wrong: a kernel that was told another
		// first program, and a first program that has ended.
		args:   []string{"rdinit=/init", "panic=10"},
		shell:  "bin/sh",
		needed: needed, useful: useful, others: others, login: true, data: data,
		modules: wanted, must: nfsModule,
		folders: folders, embedded: embedded, texts: texts,
	},
	Examination: {
		initramfs: "initramfs-exam",
		// A board that fails stays as it is, so that its console can be read.
		args:   []string{"rdinit=/init", "panic=0"},
		shell:  "bin/bash",
		needed: examNeeded, others: of("", "insmod"),
		modules: append(slices.Clone(networkModules), examModules...),
		folders: examFolders, embedded: examEmbedded,
	},
}

// parts returns a system's parts; the zero System is a Rescue.
func (s System) parts() parts {
	if s == "" {
		s = Rescue
	}
	return systems[s]
}

// Recipe names what [Build] puts into the archive of a system besides the image's
// own content: a base that was built by another recipe is to be built again. It
// fits into a file name.
func Recipe(s System) string {
	p := s.parts()
	h := sha256.New()
	for _, f := range p.embedded {
		b, _ := files.ReadFile("files/" + f.from) // what is embedded can be read
		fmt.Fprintf(h, "%s %o %d\n%s", f.path, f.perm, len(b), b)
	}
	fmt.Fprintln(h, p.folders, devices, p.texts, passwd, p.needed, p.useful, p.others, p.login, programDirs, libraries, p.data, p.modules, p.args)
	return hex.EncodeToString(h.Sum(nil)[:8])
}
