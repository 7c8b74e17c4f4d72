package api

import (
	"cmp"
	"time"

	"picloud/engine"
)

// server is a server as picloud's own API has it.
type server struct {
	ID        string     `json:"id" example:"web1"`
	Account   string     `json:"account" example:"acme"`
	Host      string     `json:"host,omitempty" doc:"Its name in the DNS; left out if names are below no domain." example:"web1.pi.example.org"`
	Status    string     `json:"status" enum:"provisioning,initialising,live"`
	Spec      spec       `json:"spec"`
	Model     string     `json:"model_full" doc:"As its maker has it." example:"4B"`
	Disk      int        `json:"disk" doc:"GB." example:"10"`
	DiskUsed  *int64     `json:"disk_used,omitempty" doc:"Bytes; left out if it is not known."`
	Image     string     `json:"image" example:"trixie"`
	IP        string     `json:"ip,omitempty" format:"ipv6" doc:"Left out if it has none."`
	Network   string     `json:"network,omitempty" doc:"The network that its address is in."`
	SSHPort   int        `json:"ssh_port,omitempty" doc:"Of the IPv4 proxy; left out if there is none."`
	Power     string     `json:"power" enum:"on,off,unknown" doc:"What the switch says."`
	Wanted    string     `json:"power_wanted" enum:"on,off" doc:"What the power should be."`
	Stage     string     `json:"stage" doc:"What it is doing now." example:"up"`
	Since     *time.Time `json:"stage_since,omitempty"`
	Progress  *string    `json:"boot_progress,omitempty" doc:"The same in words, while it boots or when that failed."`
	Rescue    bool       `json:"rescue" doc:"Whether it is in the rescue system."`
	Undo      bool       `json:"can_undo" doc:"Whether a former root is kept."`
	HostKeys  []hostKey  `json:"host_keys" nullable:"false" doc:"What its SSH server proves itself by."`
	Keys      []string   `json:"ssh_keys" nullable:"false" doc:"Who may log in."`
	Price     string     `json:"month_price" doc:"Pounds a month." example:"6.25"`
	Ordered   *time.Time `json:"ordered,omitempty"`
	Live      *time.Time `json:"live,omitempty" doc:"Since when it is there, and costs."`
	Task      *task      `json:"task,omitempty" doc:"What is done with it now."`
	Pi        string     `json:"pi,omitempty" doc:"The Pi that it is on." example:"a3-023"`
	Diagnosis string     `json:"diagnosis,omitempty" doc:"Why it does not boot."`
}

type hostKey struct {
	Type        string `json:"type" example:"ssh-ed25519"`
	Fingerprint string `json:"fingerprint" example:"SHA256:..."`
}

func (a *API) viewOf(s *engine.ServerView) server {
	v := server{
		ID: s.Name, Account: s.Account, Status: statusOf(s), Spec: specOf(boardOf(s)), Model: string(s.Model),
		Disk: s.DiskGB, Image: s.Image, SSHPort: s.SSHPort,
		Power: powerWord(s.Power), Wanted: onOff(s.Wanted), Stage: s.Stage.String(), Since: moment(s.Since), Progress: progress(s),
		Rescue: s.Rescue, Undo: s.Former, HostKeys: []hostKey{}, Keys: append([]string{}, s.Keys...),
		Pi: string(s.Pi), Diagnosis: s.Diagnosis.Cause, Price: s.Price.String(), Ordered: moment(s.Created), Live: moment(s.Live),
	}
	if a.cfg.Domain != "" {
		v.Host = s.Name + "." + a.cfg.Domain
	}
	if s.Address.IsValid() {
		v.IP, v.Network = s.Address.Addr().String(), s.Address.Masked().String()
	}
	if !s.Root.UseAt.IsZero() {
		v.DiskUsed = &s.Root.Use.Used
	}
	for _, k := range s.HostKeys {
		v.HostKeys = append(v.HostKeys, hostKey{k.Type, k.Fingerprint})
	}
	if s.Job != nil {
		v.Task = taskOf(s.Job, s.Name, "")
	}
	return v
}

func powerWord(p engine.PowerView) string {
	if p == engine.PowerUnknown {
		return "unknown"
	}
	return onOff(p != engine.PowerOff)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// moment is a time in UTC, nil for none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// task is something that is done with a server.
type task struct {
	ID      int64      `json:"id" example:"1207"`
	Verb    string     `json:"verb" example:"reimage"`
	Server  string     `json:"server" example:"web1"`
	State   string     `json:"state" enum:"queued,running,done,failed,cancelled"`
	Status  string     `json:"status" doc:"How far it has come, in words." example:"Booting Raspberry Pi"`
	Step    int        `json:"step" doc:"The one that runs or is next, from 1."`
	Steps   int        `json:"steps"`
	Percent *int       `json:"percent,omitempty" doc:"Of the step; left out if it is not told."`
	Error   string     `json:"error,omitempty" doc:"Why it failed."`
	Ended   *time.Time `json:"ended,omitempty"`
}

func taskOf(j *engine.JobView, server, status string) *task {
	t := &task{
		ID: j.ID, Verb: j.Verb, Server: server, State: string(j.State), Status: status,
		Step: j.StepNo, Steps: j.Steps, Error: whyFailed(j), Ended: moment(j.Ended),
	}
	if t.Status == "" {
		t.Status = cmp.Or(j.Waits, j.Step)
	}
	if j.Percent >= 0 {
		t.Percent = &j.Percent
	}
	return t
}

// whyFailed is what the owner of a server is told of a task that failed, "" if it
// did not. What of the rack was in the way is staff's to look up.
func whyFailed(j *engine.JobView) string {
	switch j.State {
	case engine.JobFailed:
		return "It failed at the step " + j.Step
	case engine.JobCancelled:
		return "It was cancelled at the step " + j.Step
	}
	return ""
}
