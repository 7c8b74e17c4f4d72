package command

import (
	"time"

	"github.com/spf13/cobra"

	"picloud/engine/config"
	"picloud/engine/daemon/doctor"
	"picloud/netboot/rootfs/image"
	"picloud/store"
	"picloud/tui/cli"
)

// schemaVersion is the "version" of what is printed here; see picloud help json.
const schemaVersion = 1

// The objects that commands of this program print.

type copyJSON struct {
	Path    string `json:"path"`
	At      string `json:"at" doc:"when it was made"`
	Bytes   int64  `json:"bytes"`
	Pis     int    `json:"pis"`
	Servers int    `json:"servers"`
	Schema  int    `json:"schema"`
}

type backupJSON struct {
	Version int      `json:"version" doc:"1"`
	Backup  copyJSON `json:"backup" doc:"which was read through"`
}

type restoreJSON struct {
	Version  int       `json:"version" doc:"1"`
	Restored bool      `json:"restored"`
	Former   *string   `json:"former" doc:"where the database from before is"`
	Newest   *copyJSON `json:"newest_good_backup" doc:"without FILE"`
}

type checkJSON struct {
	Version  int           `json:"version" doc:"1"`
	OK       bool          `json:"ok"`
	Problems []problemJSON `json:"problems"`
}

type problemJSON struct {
	File    string  `json:"file"`
	Line    int     `json:"line" doc:"from 1, 0 = no line in particular"`
	Column  int     `json:"column" doc:"from 1, in bytes"`
	Message string  `json:"message"`
	Remedy  *string `json:"remedy"`
}

type unpackedJSON struct {
	Version int         `json:"version" doc:"1"`
	Images  []filesJSON `json:"images" doc:"as they are on the disk"`
}

type filesJSON struct {
	Name    string   `json:"name"`
	Arch    string   `json:"arch" doc:"Debian's name for it"`
	Release string   `json:"release"`
	Source  *string  `json:"source" doc:"the file it was made from"`
	SHA256  *string  `json:"sha256" doc:"of that"`
	Files   int      `json:"files"`
	Bytes   int64    `json:"bytes"`
	Added   *string  `json:"added" doc:"when"`
	Notes   []string `json:"notes" doc:"what to know of it"`
}

// described is what they are, for the help.
var described = []cli.Object{
	{By: "doctor", Shape: doctor.Report{}}, {By: "backup", Shape: backupJSON{}}, {By: "restore", Shape: restoreJSON{}},
	{By: "config check", Shape: checkJSON{}}, {By: "image add; image list and show with --config", Shape: unpackedJSON{}},
}

// inJSON marks a command that knows --json.
const inJSON = "json"

func withJSON(c *cobra.Command) *cobra.Command {
	c.Annotations[inJSON] = "yes"
	return c
}

// asJSON tells whether --json was given.
func asJSON(c *cobra.Command) bool {
	f := c.Flags().Lookup("json")
	return f != nil && f.Value.String() == "true"
}

// refuseJSON refuses --json of a command that would not heed it.
func refuseJSON(c *cobra.Command) error {
	if asJSON(c) && c.Annotations[inJSON] == "" && c.LocalNonPersistentFlags().Lookup("json") == nil {
		return cli.Usagef(c.CommandPath()+" --help", "%s prints no JSON", c.CommandPath())
	}
	return nil
}

func (p *Program) emit(v any) error { return cli.Emit(p.Out, v) }

// ptr is nil for what is not told.
func ptr(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func copyOut(c store.Copy) copyJSON {
	return copyJSON{c.Path, moment(c.Taken), c.Bytes, c.Pis, c.Servers, c.Schema}
}

func problemsOut(problems []config.Problem) checkJSON {
	out := checkJSON{Version: schemaVersion, OK: len(problems) == 0, Problems: []problemJSON{}}
	for _, p := range problems {
		out.Problems = append(out.Problems, problemJSON{p.File, p.Line, p.Column, p.Message, ptr(p.Remedy)})
	}
	return out
}

func filesOut(i image.Info, notes []string) filesJSON {
	out := filesJSON{
		Name: i.Name, Arch: i.Arch, Release: i.Release.Pretty, Source: ptr(i.Source), SHA256: ptr(i.SHA256), Files: i.Files, Bytes: i.Bytes,
		Notes: append([]string{}, notes...),
	}
	if !i.Added.IsZero() {
		out.Added = ptr(moment(i.Added))
	}
	return out
}
