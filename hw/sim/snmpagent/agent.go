package snmpagent

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gosnmp/gosnmp"
)

// DefaultMaxMessage is the largest message sent when Config does not say: what
// fits an Ethernet frame without fragments.
const DefaultMaxMessage = 1472

// minMessage is the size that every SNMP engine must take (RFC 3417, section 3.2).
const minMessage = 484

// Config is what an Agent is made from.
type Config struct {
	ReadCommunity  string // required: Get, GetNext, GetBulk
	WriteCommunity string // those and Set; empty: nothing can be set
	MaxMessage     int    // largest message sent, bytes; 0 means DefaultMaxMessage
	Log            *slog.Logger
}

// Agent answers SNMPv2c requests. Its methods may be called from any goroutine.
type Agent struct {
	cfg    Config
	mib    *MIB
	codec  gosnmp.GoSNMP
	mu     sync.Mutex // gosnmp's decoder writes to codec
	delay  atomic.Int64
	silent atomic.Bool
	served atomic.Uint64
}

// New makes an Agent that answers from mib.
func New(cfg Config, mib *MIB) (*Agent, error) {
	if cfg.ReadCommunity == "" {
		return nil, errors.New("snmpagent: new: the read community is empty")
	}
	// The length of a community is written in one octet.
	if len(cfg.ReadCommunity) > 127 || len(cfg.WriteCommunity) > 127 {
		return nil, errors.New("snmpagent: new: a community is longer than 127 bytes")
	}
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = DefaultMaxMessage
	}
	if cfg.MaxMessage < minMessage {
		return nil, fmt.Errorf("snmpagent: new: largest message of %d bytes, the least is %d", cfg.MaxMessage, minMessage)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Agent{cfg: cfg, mib: mib, codec: gosnmp.GoSNMP{Version: gosnmp.Version2c}}, nil
}

// SetDelay makes every answer wait, as the processor of a busy switch does.
// Requests queue behind each other meanwhile.
func (a *Agent) SetDelay(d time.Duration) { a.delay.Store(int64(d)) }

// SetSilent stops or resumes answering.
func (a *Agent) SetSilent(silent bool) { a.silent.Store(silent) }

// Served is the number of requests that an answer was sent to.
func (a *Agent) Served() uint64 { return a.served.Load() }

// Serve answers the requests that arrive on conn, one at a time and in order,
// until ctx ends. It closes conn and returns nil when ctx ended, else the error
// that conn gave.
func (a *Agent) Serve(ctx context.Context, conn net.PacketConn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer conn.Close()
	buf := make([]byte, 65535)
	for {
		n, peer, err := conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("snmpagent: read: %w", err)
		}
		answer := a.Answer(buf[:n])
		if answer == nil || a.silent.Load() || !wait(ctx, time.Duration(a.delay.Load())) {
			continue
		}
		a.served.Add(1)
		if _, err := conn.WriteTo(answer, peer); err != nil {
			a.cfg.Log.Debug("snmp answer not sent", "peer", peer.String(), "error", err)
		}
	}
}

// wait sleeps for d and tells whether ctx is still there.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Answer carries out one request message and returns the answer's bytes; nil
// where an agent says nothing: not SNMPv2c, not a request, damaged, or of an
// unknown community.
func (a *Agent) Answer(message []byte) []byte {
	req, err := a.decode(message)
	if err != nil {
		a.cfg.Log.Debug("snmp message dropped", "error", err)
		return nil
	}
	canWrite := a.cfg.WriteCommunity != "" && same(req.Community, a.cfg.WriteCommunity)
	if !canWrite && !same(req.Community, a.cfg.ReadCommunity) {
		a.cfg.Log.Debug("snmp message dropped", "error", "unknown community")
		return nil
	}
	serve, ok := operations[req.PDUType]
	if !ok {
		return nil
	}
	resp := &gosnmp.SnmpPacket{
		Version: gosnmp.Version2c, Community: req.Community,
		PDUType: gosnmp.GetResponse, RequestID: req.RequestID,
	}
	serve(a, req, resp, canWrite)
	return a.encode(resp)
}

// marshal is MarshalMsg without the panics that it has for a value whose Go
// type does not fit its SNMP type.
func marshal(pkt *gosnmp.SnmpPacket) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, fmt.Errorf("snmpagent: encode: %v", r)
		}
	}()
	return pkt.MarshalMsg()
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

var errNotV2c = errors.New("snmpagent: decode: not an SNMPv2c message")

// decode reads a message. gosnmp's decoder is not proof against every damaged
// packet, so a panic inside it counts as one more decoding error.
func (a *Agent) decode(message []byte) (pkt *gosnmp.SnmpPacket, err error) {
	defer func() {
		if r := recover(); r != nil {
			pkt, err = nil, fmt.Errorf("snmpagent: decode: %v", r)
		}
	}()
	// SEQUENCE, length, then INTEGER version: v3 would need security parameters.
	if len(message) < 5 {
		return nil, errNotV2c
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	pkt, err = a.codec.SnmpDecodePacket(message)
	if err != nil {
		return nil, fmt.Errorf("snmpagent: decode: %w", err)
	}
	if pkt.Version != gosnmp.Version2c {
		return nil, errNotV2c
	}
	return pkt, nil
}

// encode writes the answer, or tooBig in its place where it does not fit
// (RFC 3416, section 4.2.1).
func (a *Agent) encode(resp *gosnmp.SnmpPacket) []byte {
	out, err := marshal(resp)
	if err == nil && len(out) <= a.cfg.MaxMessage {
		return out
	}
	status := gosnmp.TooBig
	if err != nil {
		a.cfg.Log.Warn("snmp answer not encoded", "error", err)
		status = gosnmp.GenErr
	}
	resp.Error, resp.ErrorIndex, resp.Variables = status, 0, nil
	if out, err = marshal(resp); err != nil {
		return nil
	}
	return out
}
