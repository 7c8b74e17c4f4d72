package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"picloud/engine"
)

// schemaVersion is the "version" of every object that is printed. It grows when
// a field goes or changes its meaning; new fields may come without.
const schemaVersion = 1

// stamp is a time in UTC with milliseconds, RFC 3339; null when there is none.
type stamp struct{ time.Time }

// MarshalJSON writes the time.
func (t stamp) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(t.UTC().Format(`"2006-01-02T15:04:05.000Z"`)), nil
}

// The objects that are printed. Every field is always there, null or empty
// when there is nothing to tell. A doc tag is the field's line in
// "picloud help json".

type rackJSON struct {
	Version  int         `json:"version" doc:"1"`
	Rack     string      `json:"rack" doc:"the rack's name"`
	At       stamp       `json:"at" doc:"when the rack was as told here"`
	Counts   countsJSON  `json:"counts"`
	PoE      poeJSON     `json:"poe"`
	Silent   []string    `json:"silent_switches" doc:"switches that do not answer"`
	Warnings []string    `json:"warnings" doc:"what is wrong with the service itself"`
	Jobs     int         `json:"jobs" doc:"jobs that have not ended"`
	Faults   []faultJSON `json:"faults" doc:"Pis that need somebody"`
}

type faultJSON struct {
	Pi        string         `json:"pi"`
	Port      string         `json:"port" doc:"switch/port"`
	Stage     string         `json:"stage" doc:"see pis"`
	LastStage *string        `json:"last_stage" doc:"of a stalled or unknown Pi: the one before"`
	Since     stamp          `json:"stage_since"`
	Diagnosis *diagnosisJSON `json:"diagnosis"`
}

type countsJSON struct {
	Total   int `json:"total"`
	Up      int `json:"up"`
	Booting int `json:"booting"`
	Off     int `json:"off"`
	Stalled int `json:"stalled"`
	Unknown int `json:"unknown"`
}

type poeJSON struct {
	Milliwatts int  `json:"milliwatts" doc:"drawn from all switches that answer"`
	Budget     int  `json:"budget_milliwatts" doc:"that they can give, 0 = not told"`
	Complete   bool `json:"complete" doc:"every switch answered"`
}

type pisJSON struct {
	Version int      `json:"version" doc:"1"`
	Pis     []piJSON `json:"pis"`
}

type piJSON struct {
	Name        string         `json:"name"`
	Generation  uint64         `json:"generation" doc:"grows when something that decisions rest on changes"`
	Port        string         `json:"port" doc:"switch/port, as sw1/23"`
	Segment     string         `json:"segment" doc:"name of its VLAN"`
	Interface   string         `json:"interface" doc:"the server's network interface on it"`
	ServerAddr  *string        `json:"server_address" doc:"the server's address on it"`
	Address     *string        `json:"address" doc:"the Pi's address on it"`
	Model       *string        `json:"model" doc:"3B, 3B+, 4B, 5"`
	Serial      *string        `json:"serial" doc:"low 32 bits in hexadecimal"`
	MAC         *string        `json:"mac"`
	Memory      *int           `json:"memory_mb" doc:"as the board told when it was examined"`
	Life        string         `json:"life" doc:"new, ready, allocated, deploying, live, releasing, broken"`
	Note        *string        `json:"note" doc:"why it is broken"`
	Server      *string        `json:"server" doc:"the customer's server on it"`
	Owner       *string        `json:"owner" doc:"the customer"`
	Rent        *rentJSON      `json:"rent" doc:"of a server that was ordered"`
	Free        bool           `json:"free" doc:"an order may have it, unless it is held back as a spare"`
	Power       string         `json:"power" doc:"off, on, searching (on, but nothing draws any), unknown"`
	PowerAt     stamp          `json:"power_at" doc:"when the switch last told"`
	PowerWanted bool           `json:"power_wanted" doc:"what it should be"`
	Milliwatts  *int           `json:"milliwatts"`
	Link        *string        `json:"link" doc:"up, down"`
	Stage       string         `json:"stage" doc:"off, power, dhcp, tftp, kernel, nfs, up, stalled, unknown"`
	StageSince  stamp          `json:"stage_since"`
	LastStage   *string        `json:"last_stage" doc:"of a stalled or unknown Pi: the one before"`
	Diagnosis   *diagnosisJSON `json:"diagnosis" doc:"of a stalled Pi"`
	Image       *string        `json:"image" doc:"that its root was made from"`
	Root        *volumeJSON    `json:"root"`
	Former      *volumeJSON    `json:"former_root" doc:"what undo brings back"`
	FormerUntil stamp          `json:"former_root_until" doc:"when it is given up"`
	Export      *string        `json:"export" doc:"what is exported to it"`
	ExportError *string        `json:"export_error" doc:"why its root is not exported"`
	Exam        bool           `json:"exam" doc:"it is under examination"`
	Rescue      bool           `json:"rescue" doc:"it boots the rescue system"`
	RescueKeys  []hostKeyJSON  `json:"rescue_ssh_host_keys"`
	NFS         *nfsJSON       `json:"nfs"`
	OtherBoard  *boardJSON     `json:"other_board" doc:"another board heard on its segment"`
	Job         *jobJSON       `json:"job" doc:"that has not ended"`
	Boot        *bootJSON      `json:"boot" doc:"the current or last one"`
}

type diagnosisJSON struct {
	At    string `json:"at" doc:"the stage it stalled in"`
	Fault string `json:"fault" doc:"short stable name, as stp-blocked"`
	Cause string `json:"cause" doc:"one sentence"`
	Hint  string `json:"hint" doc:"what to do"`
}

type volumeJSON struct {
	Name     string        `json:"name"`
	Created  stamp         `json:"created"`
	Used     *int64        `json:"used_bytes"`
	Size     *int64        `json:"size_bytes" doc:"that it may hold; null = no limit, or not known"`
	UsedAt   stamp         `json:"used_at" doc:"when that was looked at"`
	HostKeys []hostKeyJSON `json:"ssh_host_keys"`
}

type hostKeyJSON struct {
	Type        string `json:"type" doc:"as ssh-ed25519"`
	Fingerprint string `json:"fingerprint" doc:"SHA256:..."`
}

type nfsJSON struct {
	At          stamp   `json:"at"`
	Connected   bool    `json:"connected"`
	Since       stamp   `json:"since"`
	Read        uint64  `json:"read_bytes" doc:"by the Pi"`
	Written     uint64  `json:"written_bytes" doc:"by the Pi"`
	RTT         int64   `json:"rtt_microseconds"`
	Retransmits uint32  `json:"retransmits"`
	Refused     *string `json:"refused" doc:"a mount that was refused, and why"`
}

type boardJSON struct {
	MAC    string  `json:"mac"`
	Model  *string `json:"model"`
	Serial *string `json:"serial"`
	At     stamp   `json:"at"`
	Pi     *string `json:"pi" doc:"whose board it is known as: it was moved"`
}

type bootsJSON struct {
	Version int        `json:"version" doc:"1"`
	Pi      string     `json:"pi"`
	Boots   []bootJSON `json:"boots" doc:"newest first"`
}

type bootJSON struct {
	ID      int64           `json:"id"`
	Started stamp           `json:"started"`
	Reached string          `json:"reached" doc:"the furthest stage"`
	Up      stamp           `json:"up" doc:"when it was up"`
	Cause   *string         `json:"cause" doc:"why it stalled"`
	Events  []bootEventJSON `json:"events" doc:"null in pi list, which would be long"`
}

type bootEventJSON struct {
	Time     stamp  `json:"time"`
	Stage    string `json:"stage"`
	Evidence string `json:"evidence"`
}

type switchesJSON struct {
	Version  int          `json:"version" doc:"1"`
	Switches []switchJSON `json:"switches"`
}

type switchJSON struct {
	Name        string     `json:"name"`
	Answered    stamp      `json:"answered" doc:"when it last did"`
	Error       *string    `json:"error" doc:"why it does not answer"`
	Uptime      *int64     `json:"uptime_seconds"`
	Description string     `json:"description"`
	Milliwatts  int        `json:"milliwatts"`
	Budget      int        `json:"budget_milliwatts" doc:"0 = not told"`
	Ports       []portJSON `json:"ports"`
}

type portJSON struct {
	Port       int     `json:"port" doc:"as printed on the switch"`
	Pi         *string `json:"pi"`
	Power      *string `json:"power" doc:"see pis"`
	Milliwatts *int    `json:"milliwatts"`
	Stage      *string `json:"stage"`
}

type jobsJSON struct {
	Version int       `json:"version" doc:"1"`
	Jobs    []jobJSON `json:"jobs"`
}

type jobJSON struct {
	ID      int64   `json:"id"`
	Batch   *int64  `json:"batch" doc:"jobs of one command share it"`
	Verb    string  `json:"verb"`
	Pi      string  `json:"pi"`
	To      *string `json:"to" doc:"move: where to"`
	Server  *string `json:"server" doc:"that it is for"`
	Owner   *string `json:"owner" doc:"whose that is"`
	Actor   string  `json:"actor"`
	State   string  `json:"state" doc:"queued, running, done, failed, cancelled"`
	Waits   *string `json:"waits" doc:"why it has not begun, if that is known"`
	Step    string  `json:"step"`
	StepNo  int     `json:"step_number" doc:"from 1"`
	Steps   int     `json:"steps"`
	Percent *int    `json:"percent" doc:"of the step"`
	Since   stamp   `json:"since"`
	Ended   stamp   `json:"ended"`
	Error   *string `json:"error"`
}

type imagesJSON struct {
	Version int         `json:"version" doc:"1"`
	Images  []imageJSON `json:"images"`
}

type imageJSON struct {
	Name  string   `json:"name"`
	Label string   `json:"label"`
	Added stamp    `json:"added"`
	Pis   []string `json:"pis" doc:"whose root was made from it"`
}

type spaceJSON struct {
	Version  int           `json:"version" doc:"1"`
	At       stamp         `json:"at" doc:"when it was looked at"`
	Error    *string       `json:"error" doc:"what could not be told"`
	Driver   string        `json:"driver" doc:"what keeps the roots: lvm, btrfs, folder"`
	Copies   bool          `json:"copies" doc:"a new root copies every file"`
	Quota    bool          `json:"quota" doc:"a root cannot outgrow its size"`
	Size     int64         `json:"size_bytes" doc:"of the room that all roots share"`
	Used     int64         `json:"used_bytes"`
	Metadata float64       `json:"metadata_used" doc:"0 to 1"`
	Full     bool          `json:"nearly_full" doc:"no new root is made"`
	Roots    []rootUseJSON `json:"roots"`
}

type rootUseJSON struct {
	Pi     string      `json:"pi"`
	Root   *volumeJSON `json:"root"`
	Former *volumeJSON `json:"former_root"`
	Until  stamp       `json:"former_root_until"`
}

type logJSON struct {
	Version int           `json:"version" doc:"1"`
	Lines   []logLineJSON `json:"log" doc:"oldest first"`
}

type logLineJSON struct {
	ID    int64   `json:"id"`
	Time  stamp   `json:"time"`
	Actor string  `json:"actor" doc:"- is the rack itself"`
	Pi    *string `json:"pi"`
	Job   *int64  `json:"job"`
	Text  string  `json:"text"`
}

type auditJSON struct {
	Version int            `json:"version" doc:"1"`
	Rows    []auditRowJSON `json:"audit" doc:"oldest first"`
}

type auditRowJSON struct {
	ID     int64   `json:"id"`
	Time   stamp   `json:"time"`
	Actor  string  `json:"actor"`
	Source string  `json:"source" doc:"tty, ssh, api, engine, with an address"`
	Key    *string `json:"key" doc:"fingerprint of an SSH key, or uid:N"`
	Verb   string  `json:"verb"`
	Target string  `json:"target" doc:"the Pi"`
	Reason *string `json:"reason"`
	Job    *int64  `json:"job"`
	Result *string `json:"result" doc:"null = it is not over"`
	Ended  stamp   `json:"ended"`
}

type actJSON struct {
	Version  int            `json:"version" doc:"1"`
	Verb     string         `json:"verb"`
	DryRun   bool           `json:"dry_run" doc:"nothing was done"`
	Guard    string         `json:"guard" doc:"none, countdown, yes, name: the strongest of all"`
	Confirm  *string        `json:"confirm" doc:"what --confirm takes, when the guard is name"`
	Accepted []acceptedJSON `json:"accepted" doc:"in a dry run: who would be tried"`
	Refused  []refusedJSON  `json:"refused"`
	Jobs     []jobJSON      `json:"jobs" doc:"with --wait: how they ended"`
	Error    *string        `json:"error" doc:"in a dry run: why none of it may be done"`
}

type acceptedJSON struct {
	Pi   string `json:"pi"`
	Port string `json:"port"`
	Job  *int64 `json:"job" doc:"null = it is over already"`
}

type refusedJSON struct {
	Pi     string `json:"pi"`
	Kind   string `json:"kind" doc:"not-now, stale, guard, not-allowed, no-such-pi, other"`
	Reason string `json:"reason"`
}

type eventJSON struct {
	Version int     `json:"version" doc:"1"`
	Time    stamp   `json:"time"`
	Event   string  `json:"event" doc:"start (once, first), stage, log, warning"`
	Pi      *string `json:"pi"`
	Port    *string `json:"port" doc:"of stage"`
	Stage   *string `json:"stage" doc:"of stage: the one it came to"`
	Actor   *string `json:"actor" doc:"of log; - is the rack itself"`
	Job     *int64  `json:"job" doc:"of log"`
	Fault   *string `json:"fault" doc:"of a stalled Pi: short stable name"`
	Hint    *string `json:"hint" doc:"of a stalled Pi: what to do"`
	Text    string  `json:"text" doc:"the evidence, or what happened"`
}

type versionJSON struct {
	Version int    `json:"version" doc:"1"`
	Picloud string `json:"picloud" doc:"of the service"`
}

// emit prints one object.
func (a *app) emit(v any) error { return a.encode(v, "  ") }

// emitLine prints one object on one line.
func (a *app) emitLine(v any) error { return a.encode(v, "") }

func (a *app) encode(v any, indent string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err := a.out.Write(escaped(b.Bytes()))
	return err
}

// escaped writes characters that a terminal could act on, or that hide or
// reorder text, as JSON's escapes.
func escaped(b []byte) []byte {
	var out []byte
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r == '\n' || r >= ' ' && r < 0x7f || r > 0x7f && unicode.IsPrint(r):
			out = append(out, b[i:i+n]...)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += n
	}
	return out
}

// null is a pointer to a value that is told, nil for the zero value.
func null[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func jobOut(j *engine.JobView) jobJSON {
	out := jobJSON{
		ID: j.ID, Batch: null(j.Batch), Verb: j.Verb, Pi: string(j.Pi), To: null(string(j.To)), Server: null(j.Server), Owner: null(j.Owner),
		Actor: j.Actor, State: string(j.State), Waits: null(j.Waits), Step: j.Step, StepNo: j.StepNo, Steps: j.Steps, Since: stamp{j.Since}, Ended: stamp{j.Ended}, Error: null(j.Error),
	}
	if j.Percent >= 0 {
		out.Percent = &j.Percent
	}
	return out
}

func bootOut(b *engine.Boot) bootJSON {
	out := bootJSON{
		ID: b.ID, Started: stamp{b.Started}, Reached: b.Reached.String(), Up: stamp{b.Up}, Cause: null(b.Cause),
		Events: make([]bootEventJSON, len(b.Events)),
	}
	for i, e := range b.Events {
		out.Events[i] = bootEventJSON{stamp{e.Time}, e.Stage.String(), e.Evidence}
	}
	return out
}

func volumeOut(name string, v *engine.VolumeView) *volumeJSON {
	if name == "" {
		return nil
	}
	out := &volumeJSON{Name: name, Created: stamp{v.Created}, UsedAt: stamp{v.UseAt}, Size: null(v.Use.Size), HostKeys: keysOut(v.HostKeys)}
	if !v.UseAt.IsZero() {
		out.Used = &v.Use.Used
	}
	return out
}

func keysOut(keys []engine.HostKey) []hostKeyJSON {
	out := make([]hostKeyJSON, len(keys))
	for i, k := range keys {
		out[i] = hostKeyJSON{k.Type, k.Fingerprint}
	}
	return out
}

func diagnosisOut(p *engine.PiView) *diagnosisJSON {
	d := p.Diagnosis
	if p.Stage != engine.StageStalled {
		return nil
	}
	return &diagnosisJSON{d.At.String(), d.Fault, d.Cause, d.Hint}
}

func lastStage(p *engine.PiView) *string {
	if p.Stage != engine.StageStalled && p.Stage != engine.StageUnknown {
		return nil
	}
	s := p.LastStage.String()
	return &s
}

// powerWords are the power states in JSON.
var powerWords = map[engine.PowerView]string{
	engine.PowerOff: "off", engine.PowerOn: "on", engine.PowerSearching: "searching",
}

func powerWord(p engine.PowerView) string { return or(powerWords[p], "unknown") }

func serialText(n uint32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%08x", n)
}

func wattsOut(p *engine.PiView) *int {
	if !p.HasWatts || p.Power == engine.PowerUnknown {
		return nil
	}
	return &p.Milliwatts
}

func piOut(p *engine.PiView) piJSON {
	out := piJSON{
		Name: string(p.Name), Generation: p.Gen, Port: p.Port.String(), Segment: p.Segment.Name, Interface: p.Segment.Interface,
		Model: null(string(p.Model)), Serial: null(serialText(p.Serial)), MAC: null(p.MAC.String()), Memory: null(p.Memory),
		Life: string(p.Life), Note: null(p.Note), Server: null(p.Server), Owner: null(p.Owner),
		Rent: rentOut(p), Free: p.Free, Power: powerWord(p.Power), PowerAt: stamp{p.PowerAt}, PowerWanted: p.Wanted, Milliwatts: wattsOut(p), Link: null(p.Link),
		Stage: p.Stage.String(), StageSince: stamp{p.Since}, LastStage: lastStage(p), Diagnosis: diagnosisOut(p),
		Image: null(p.Image), Root: volumeOut(p.Root, &p.RootVolume), Former: volumeOut(p.Former, &p.FormerVolume), FormerUntil: stamp{p.FormerUntil},
		Export: null(p.Export), ExportError: null(p.ExportErr), Exam: p.Exam, Rescue: p.Rescue, RescueKeys: keysOut(p.RescueKeys),
	}
	if p.Addr.IsValid() {
		out.Address = null(p.Addr.String())
	}
	if p.Segment.Server.IsValid() {
		out.ServerAddr = null(p.Segment.Server.String())
	}
	if !p.NFSAt.IsZero() || p.NFS.Refused != "" {
		n := &p.NFS
		out.NFS = &nfsJSON{stamp{p.NFSAt}, n.Connected, stamp{n.Since}, n.BytesOut, n.BytesIn, n.RTT.Microseconds(), n.Retransmits, null(n.Refused)}
	}
	if p.Seen != nil {
		out.OtherBoard = &boardJSON{p.Seen.MAC.String(), null(string(p.Seen.Model)), null(serialText(p.Seen.Serial)), stamp{p.SeenAt}, null(string(p.SeenIs))}
	}
	if p.Job != nil {
		j := jobOut(p.Job)
		out.Job = &j
	}
	if p.Boot != nil {
		b := bootOut(p.Boot)
		out.Boot = &b
	}
	return out
}
