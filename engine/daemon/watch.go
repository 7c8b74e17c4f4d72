package daemon

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"time"

	"picloud/engine"
	"picloud/netboot/nfs"
	"picloud/netboot/nfs/nfs3"
	"picloud/netboot/sshprobe"
)

// peers turns the list of connected Pis into evidence for each: also that one
// is gone from the list.
type peers struct {
	observe   func(engine.Observation)
	connected map[netip.Addr]bool
}

func (p *peers) report(list []nfs.Peer) {
	now := time.Now()
	seen := make(map[netip.Addr]bool, len(list))
	for _, peer := range list {
		seen[peer.Addr] = true
		p.observe(engine.Observation{Time: now, NFS: &engine.NFSSeen{
			Client: peer.Addr, Connected: true, Since: peer.Since, BytesIn: peer.Received, BytesOut: peer.Sent,
			RTT: peer.RTT, Retransmits: uint32(min(peer.Retransmits, 1<<32-1)),
		}})
	}
	for addr := range p.connected {
		if !seen[addr] {
			p.observe(engine.Observation{Time: now, NFS: &engine.NFSSeen{Client: addr}})
		}
	}
	p.connected = seen
}

// nfsObservation turns a refused mount into evidence.
func nfsObservation(e nfs3.Event) (engine.Observation, bool) {
	if e.Kind != nfs3.EventRefused {
		return engine.Observation{}, false
	}
	return engine.Observation{Time: e.Time, NFS: &engine.NFSSeen{Client: e.Client, Refused: e.Path + ": " + e.Reason}}, true
}

// sshObservation is the outcome of a probe as evidence. Its time is when the
// probe began: the Pi may have lost its power since.
func sshObservation(r sshprobe.Result) engine.Observation {
	seen := &engine.SSHSeen{Client: r.Addr.Addr(), Banner: r.Banner}
	if r.Err != nil {
		seen.Err = sshProblem(r.Err)
	}
	return engine.Observation{Time: r.Time, SSH: seen}
}

// sshProblem says in few words what came instead of a banner.
func sshProblem(err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer"
	}
	return err.Error()
}

// probeTargets are the Pis that may have an SSH server by now, or that had one.
func probeTargets(s *engine.Snapshot, port int) []sshprobe.Target {
	var list []sshprobe.Target
	for i := range s.Pis {
		p := &s.Pis[i]
		stage := p.Stage
		if stage == engine.StageStalled || stage == engine.StageUnknown {
			stage = p.LastStage
		}
		if stage >= engine.StageKernel && stage <= engine.StageUp || p.WasOn {
			list = append(list, sshprobe.Target{Addr: netip.AddrPortFrom(p.Addr, uint16(port)), Source: p.Segment.Server})
		}
	}
	return list
}

// follow calls f with every snapshot it can get hold of, until ctx ends.
func follow(ctx context.Context, v engine.Viewer, f func(*engine.Snapshot)) {
	snapshots, cancel := v.Subscribe()
	defer cancel()
	for {
		select {
		case s := <-snapshots:
			f(s)
		case <-ctx.Done():
			return
		}
	}
}
