package api

import (
	"fmt"
	"net/netip"

	"picloud/engine"
)

// hostedServer is a server as the hosted-Pi API has it.
type hostedServer struct {
	IP           string  `json:"ip" format:"ipv6" doc:"Its IPv6 address, written out; :: if it has none." example:"2a00:1098:0008:0064:0000:0000:0000:0001"`
	Routed       string  `json:"ip_routed" doc:"The network that its address is in." example:"2a00:1098:0008:6400:0000:0000:0000:0000/56"`
	SSHPort      int     `json:"ssh_port" doc:"Of the IPv4 proxy; 0 = none." example:"5100"`
	Disk         string  `json:"disk_size" pattern:"^[0-9]+\\.[0-9]{2}$" doc:"GB." example:"10.00"`
	Initialised  bool    `json:"initialised_keys" doc:"Whether keys that may log in have been written to it."`
	Initialized  bool    `json:"initialized_keys" doc:"The same."`
	Location     string  `json:"location" doc:"The rack." example:"CLL"`
	Model        int     `json:"model" example:"4"`
	ModelFull    string  `json:"model_full" example:"4B"`
	Memory       int     `json:"memory" doc:"MB." example:"4096"`
	CPU          int     `json:"cpu_speed" doc:"MHz." example:"1500"`
	NIC          int     `json:"nic_speed" doc:"Mbit/s." example:"1000"`
	Power        bool    `json:"power"`
	Booting      bool    `json:"is_booting"`
	BootProgress *string `json:"boot_progress" doc:"How far it has booted; null = it does not." example:"Waiting for initial DHCP"`
	Status       string  `json:"status" enum:"provisioning,initialising,live"`
}

func hostedView(s *engine.ServerView, rack string) hostedServer {
	board := boardOf(s)
	written := len(s.Keys) > 0 && s.State != engine.ServerProvisioning
	ip, routed := addresses(s.Address)
	return hostedServer{
		IP: ip, Routed: routed, SSHPort: s.SSHPort, Disk: fmt.Sprintf("%d.00", s.DiskGB),
		Initialised: written, Initialized: written, Location: rack,
		Model: board.Model, ModelFull: string(s.Model), Memory: board.Memory, CPU: board.CPU, NIC: board.NIC,
		Power: powered(s), Booting: s.Stage.Booting(), BootProgress: progress(s), Status: statusOf(s),
	}
}

// addresses writes an address and its network out as the hosted-Pi API does. Its
// clients take no answer without any: the unspecified address indicates the
// absence of one (RFC 4291, section 2.5.2).
func addresses(p netip.Prefix) (ip, network string) {
	if !p.IsValid() {
		p = netip.PrefixFrom(netip.IPv6Unspecified(), 128)
	}
	return p.Addr().StringExpanded(), fmt.Sprintf("%s/%d", p.Masked().Addr().StringExpanded(), p.Bits())
}

// boardOf is the spec of the board that has the server, or before there is one
// what was asked for.
func boardOf(s *engine.ServerView) engine.Spec {
	if s.Board == (engine.Spec{}) {
		return s.Wish
	}
	return s.Board
}

// powered tells whether it has power: what the switch says, or what the port
// should be while that is silent.
func powered(s *engine.ServerView) bool {
	if s.Power == engine.PowerUnknown {
		return s.Wanted
	}
	return s.Power != engine.PowerOff
}

// statusOf is how far a server has come; those of the configuration are there.
func statusOf(s *engine.ServerView) string {
	if s.State == "" {
		return string(engine.ServerLive)
	}
	return string(s.State)
}

// phrases are the stages of a boot in words for whoever has the server.
var phrases = map[engine.Stage]string{
	engine.StagePower:    "Waiting for initial DHCP",
	engine.StageDHCP:     "Waiting for boot files",
	engine.StageFirmware: "Loading firmware and kernel",
	engine.StageKernel:   "Starting the kernel",
	engine.StageRoot:     "Waiting for SSH",
}

// progress is how far it has booted, nil if it does not.
func progress(s *engine.ServerView) *string {
	text, ok := phrases[s.Stage]
	if s.Stage == engine.StageStalled {
		text, ok = "Boot failed", true
		if at, known := phrases[s.Diagnosis.At]; known {
			text += ": " + at
		}
	}
	if !ok {
		return nil
	}
	return &text
}
