package sim

import (
	"log/slog"
	"net"
	"sync/atomic"

	"picloud/hw/sim/poeswitch"
)

// switchPort is a port as the Pi on it works on it.
type switchPort struct {
	sw   *poeswitch.Switch
	n    int
	draw atomic.Int64 // milliwatts
	log  *slog.Logger
}

func (p *switchPort) SetLink(up bool) { p.note(p.sw.SetLink(p.n, up)) }

func (p *switchPort) SetDraw(milliwatts int) { p.draw.Store(int64(milliwatts)) }

func (p *switchPort) Learn(mac net.HardwareAddr) { p.note(p.sw.Learn(p.n, mac)) }

func (p *switchPort) Forwarding() bool { return p.sw.Forwarding(p.n) }

func (p *switchPort) milliwatts() int { return int(p.draw.Load()) }

func (p *switchPort) note(err error) {
	if err != nil {
		p.log.Warn("switch port", "port", p.n, "err", err)
	}
}
