package pi

import (
	"fmt"
	"net/netip"
	"time"

	"picloud/netboot/dhcp/wire"
)

// lease is what a program takes from the DHCP exchange.
type lease struct {
	addressing Addressing
	server     netip.Addr // of TFTP
}

// defaultBits is the prefix length when the server does not tell it.
const defaultBits = 24

func (r reply) addressing(onLink bool) Addressing {
	bits := r.mask
	if bits == 0 {
		bits = defaultBits
	}
	return Addressing{Prefix: netip.PrefixFrom(r.addr, bits), Gateway: r.router, OnLink: onLink}
}

// asker sends DISCOVERs and looks at what comes back.
type asker struct {
	*boot
	conn DHCPConn
	dialect
	style Datagram
	xid   uint32
	buf   [1500]byte

	// hold is the quirk of some 3Bs: a packet is looked at only when the next one
	// has come (raspberrypi/firmware issues 764, 894).
	hold bool
	held int // octets of the packet in buf that waits, with its source
	src  netip.Addr
}

// ask opens the port, runs f and closes the port.
func (b *boot) ask(d dialect, style Datagram, f func(*asker) error) error {
	conn, err := b.cfg.NIC.OpenDHCP()
	if err != nil {
		return err
	}
	defer conn.Close()
	defer b.cutOff(conn)()
	err = f(&asker{boot: b, conn: conn, dialect: d, style: style})
	if b.ctx.Err() != nil {
		return b.ctx.Err()
	}
	return err
}

// transmit sends a message, unless spanning tree swallows it.
func (a *asker) transmit(message []byte) error {
	a.cfg.Port.Learn(a.cfg.Board.MAC)
	if !a.cfg.Port.Forwarding() {
		return nil
	}
	style := a.style
	if style.Checksum {
		style.ID = uint16(a.rng.Uint32())
	}
	return ignoreRefused(a.conn.Broadcast(message, style))
}

// answer waits until the deadline for a reply that good accepts. It returns false
// when none came.
func (a *asker) answer(sent, deadline time.Time, good func(reply) bool) (reply, bool, error) {
	for {
		n, src, err := a.next(deadline)
		if err != nil {
			return reply{}, false, a.timeout(err)
		}
		if !a.cfg.Port.Forwarding() {
			continue
		}
		r, ok := a.parseReply(a.buf[:n], src, a.cfg.Board.MAC, a.xid)
		if !ok || a.fault == OfferIgnored {
			continue
		}
		if a.tooSoon && time.Since(sent) < a.scale(romTooSoon) {
			a.counters.tooSoon.Add(1)
			continue
		}
		if good(r) {
			return r, true, nil
		}
	}
}

// timeout turns the error of a Receive whose deadline passed, or whose socket the
// loss of power closed, into nil or the context's error.
func (a *asker) timeout(err error) error {
	if a.ctx.Err() != nil {
		return a.ctx.Err()
	}
	if isTimeout(err) {
		return nil
	}
	return fmt.Errorf("pi: dhcp: %w", err)
}

// next returns the next packet in a.buf. On a board that holds packets back this
// is the one before the one that came.
func (a *asker) next(deadline time.Time) (int, netip.Addr, error) {
	if !a.hold {
		return a.conn.Receive(a.buf[:], deadline)
	}
	for {
		if a.held == 0 {
			n, src, err := a.conn.Receive(a.buf[:], deadline)
			if err != nil {
				return 0, src, err
			}
			if a.held, a.src = n, src; n > 0 {
				a.counters.held.Add(1)
			}
			continue
		}
		// What the packet that frees the held one contains is lost.
		var nudge [64]byte
		if _, _, err := a.conn.Receive(nudge[:], deadline); err != nil {
			return 0, netip.Addr{}, err
		}
		n := a.held
		a.held = 0
		return n, a.src, nil
	}
}

// discoverROM is the DHCP of the mask ROM and of bootcode.bin: a DISCOVER, an
// OFFER and no REQUEST. skip OFFERs are ignored.
func (b *boot) discoverROM(d dialect, attempts, skip int, hold bool) (lease, error) {
	var l lease
	err := b.ask(d, romDatagram, func(a *asker) error {
		a.xid, a.hold = wire.ROMTransactionID, hold
		message := d.discover(b.cfg.Board, a.xid)
		for n := 1; n <= attempts; n++ {
			b.counters.discovers.Add(1)
			b.setState(StageDHCP, fmt.Sprintf("DISCOVER %d of %d", n, attempts))
			sent := time.Now()
			if err := a.transmit(message); err != nil {
				return err
			}
			r, ok, err := a.answer(sent, sent.Add(b.packetWait(romInterval)), goodForROM)
			if err != nil {
				return err
			}
			if ok && skip > 0 {
				skip--
				err = b.sleep(time.Until(sent.Add(b.packetWait(romInterval))))
				ok = false
			}
			if ok {
				l = lease{r.addressing(true), r.romServer}
				return nil
			}
			if err != nil {
				return err
			}
		}
		return errSilent
	})
	return l, err
}

// goodForROM: an OFFER with an address that tells where to go on. siaddr is
// ignored, and so are option 67 and the file field.
func goodForROM(r reply) bool {
	return r.kind == wire.TypeOffer && !r.addr.IsUnspecified() && r.romServer.IsValid()
}

// requestEEPROM is the DHCP of the EEPROM bootloaders: DISCOVER, OFFER, REQUEST
// and ACK, within DHCP_TIMEOUT. It returns a zero lease when that has passed.
func (b *boot) requestEEPROM() (lease, error) {
	var l lease
	style := Datagram{TTL: eepromTTL, Checksum: true}
	err := b.ask(dialectEEPROM, style, func(a *asker) error {
		a.xid = b.rng.Uint32()
		end := time.Now().Add(b.packetWait(eepromDHCP))
		for n := 1; time.Now().Before(end); n++ {
			b.counters.discovers.Add(1)
			b.setState(StageDHCP, fmt.Sprintf("DISCOVER %d", n))
			offer, ok, err := a.exchange(a.discover(b.cfg.Board, a.xid), goodOffer)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			server := offer.serverID
			ack, ok, err := a.exchange(a.request(b.cfg.Board, a.xid, offer.addr, server), func(r reply) bool {
				return (r.kind == wire.TypeAck || r.kind == dhcpNAK) && r.serverID == server
			})
			if err != nil {
				return err
			}
			if ok && ack.kind == wire.TypeAck {
				l = lease{ack.addressing(false), ack.eepromServer()}
				return nil
			}
		}
		return nil
	})
	return l, err
}

// goodOffer: an OFFER whose option 43 has the text, with an address and the
// server's name for itself, which the REQUEST needs.
func goodOffer(r reply) bool {
	return r.kind == wire.TypeOffer && r.menu && !r.addr.IsUnspecified() && r.serverID.IsValid()
}

// exchange sends a message and waits DHCP_REQ_TIMEOUT for its answer.
func (a *asker) exchange(message []byte, good func(reply) bool) (reply, bool, error) {
	sent := time.Now()
	if err := a.transmit(message); err != nil {
		return reply{}, false, err
	}
	return a.answer(sent, sent.Add(a.packetWait(eepromRequest)), good)
}
