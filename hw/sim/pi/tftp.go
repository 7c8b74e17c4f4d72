package pi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"picloud/netboot/bootfs/order"
)

// TFTP opcodes and error codes (RFC 1350, RFC 2347).
const (
	opRRQ   = 1
	opData  = 3
	opACK   = 4
	opError = 5
	opOACK  = 6

	codeUndefined = 0
	codeNotFound  = 1
)

// defaultBlock is the block size without negotiation (RFC 1350).
const defaultBlock = 512

// earlyTerminate is what a Pi says when it has only looked whether a file exists
// (raspberrypi/firmware issue 1041).
const earlyTerminate = "Early terminate"

// firstPort is the first UDP port of every program's transfers (boot-net.adoc).
const firstPort = 49152

var (
	errNotFound    = errors.New("file not found")
	errTFTP        = errors.New("tftp error")
	errTFTPTimeout = errors.New("tftp time-out")
	// errTripped means that a fault struck in the middle of the transfer.
	errTripped = errors.New("fault")
)

// tftp is one program's TFTP client.
type tftp struct {
	nic    NIC
	server netip.AddrPort
	style  Datagram
	// rate is how many octets a second it takes, sped up; 0 means no limit.
	rate float64
	// resend, tries and total: an unanswered packet is sent again after resend, up
	// to tries times, and a file may take total. 0 means no such limit.
	resend time.Duration
	tries  int
	total  time.Duration
	pause  func(time.Duration) error
	// pause spends true time; onClose closes a socket when the power goes, until the
	// function that it returns is called.
	onClose func(io.Closer) func() bool

	port uint16 // of the next transfer
	buf  [2048]byte
	out  [600]byte

	counters *counters
}

// transfer is the state of one read request.
type transfer struct {
	*tftp
	conn  *net.UDPConn
	peer  netip.AddrPort // the server's port of this transfer
	name  string
	last  []byte // the packet to send again
	sent  int    // how often
	end   time.Time
	start time.Time

	probe bool
	sink  io.Writer
	// trip is whether a fault strikes in the middle of this file.
	trip bool

	block uint16
	size  int64 // from tsize, -1 unknown
	got   int64
	blk   int
}

// get reads a file into sink. With r.Probe it ends the transfer as soon as it
// knows that the file is there. With trip it returns errTripped in the middle of
// the file, without having acknowledged what came last.
func (c *tftp) get(r order.Request, name string, sink io.Writer, trip bool) (size int64, err error) {
	conn, err := c.listen()
	if err != nil {
		return 0, fmt.Errorf("pi: tftp %s: %w", name, err)
	}
	defer conn.Close()
	defer c.onClose(conn)()
	now := time.Now()
	t := &transfer{
		tftp: c, conn: conn, name: name, start: now, probe: r.Probe, sink: sink, trip: trip,
		size: -1, blk: defaultBlock,
	}
	if c.total > 0 {
		t.end = now.Add(c.total)
	}
	if err := t.send(appendRRQ(c.out[:0], name, r.Options), c.server); err != nil {
		return 0, fmt.Errorf("pi: tftp %s: %w", name, err)
	}
	c.counters.requests.Add(1)
	if err := t.run(); err != nil {
		return t.got, fmt.Errorf("pi: tftp %s: %w", name, err)
	}
	return t.got, nil
}

// listen opens the next port. A port that something else on the machine has is
// skipped.
func (c *tftp) listen() (*net.UDPConn, error) {
	for tries := 0; ; tries++ {
		port := firstPort + c.port
		c.port = (c.port + 1) % 1024
		conn, err := c.nic.ListenUDP(port, c.style)
		if err == nil || tries == 8 || !errors.Is(err, syscall.EADDRINUSE) {
			return conn, err
		}
	}
}

// appendRRQ appends a read request (RFC 1350, section 5; RFC 2347).
func appendRRQ(p []byte, name string, o order.Options) []byte {
	p = append(p, 0, opRRQ)
	p = append(append(p, name...), 0)
	p = append(p, "octet\x00"...)
	if o.TSize {
		p = append(p, "tsize\x000\x00"...)
	}
	if o.BlkSize > 0 {
		p = append(p, "blksize\x00"...)
		p = append(strconv.AppendInt(p, int64(o.BlkSize), 10), 0)
	}
	return p
}

func (t *transfer) send(p []byte, to netip.AddrPort) error {
	t.last, t.sent = p, 1
	return ignoreRefused(t.write(p, to))
}

func (t *transfer) write(p []byte, to netip.AddrPort) error {
	_, err := t.conn.WriteToUDPAddrPort(p, to)
	return err
}

// ignoreRefused drops the error that an earlier packet was refused: firmware
// does not look at ICMP.
func ignoreRefused(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	return err
}

// run answers packets until the file is whole, or is known to be there, or
// cannot be had.
func (t *transfer) run() error {
	for {
		n, err := t.receive()
		if err != nil {
			return err
		}
		done, err := t.handle(t.buf[:n])
		if done || err != nil {
			return err
		}
	}
}

// receive waits for a packet of this transfer and sends the last packet again
// whenever none comes.
func (t *transfer) receive() (int, error) {
	for {
		if err := t.conn.SetReadDeadline(time.Now().Add(t.resend)); err != nil {
			return 0, err
		}
		n, src, err := t.conn.ReadFromUDPAddrPort(t.buf[:])
		src = netip.AddrPortFrom(src.Addr().Unmap(), src.Port())
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := t.again(); err != nil {
				return 0, err
			}
		case ignoreRefused(err) != nil:
			return 0, err
		case err != nil || !t.ours(src) || n < 4:
			t.counters.strays.Add(1)
		default:
			return n, nil
		}
	}
}

// ours reports whether a packet belongs to the transfer: it comes from the
// server's address and, after the first one, from the port that this came from.
func (t *transfer) ours(src netip.AddrPort) bool {
	if t.peer.IsValid() {
		return src == t.peer
	}
	if src.Addr() != t.server.Addr() {
		return false
	}
	t.peer = src
	return true
}

func (t *transfer) again() error {
	if t.tries > 0 && t.sent >= t.tries || !t.end.IsZero() && time.Now().After(t.end) {
		return errTFTPTimeout
	}
	t.sent++
	t.counters.resends.Add(1)
	to := t.server
	if t.peer.IsValid() {
		to = t.peer
	}
	return ignoreRefused(t.write(t.last, to))
}

func (t *transfer) handle(p []byte) (done bool, err error) {
	switch binary.BigEndian.Uint16(p) {
	case opError:
		return true, remoteError(p)
	case opOACK:
		if t.block != 0 || t.got != 0 {
			return false, nil
		}
		t.options(p[2:])
		if t.probe {
			return true, t.terminate()
		}
		return false, t.ack(0)
	case opData:
		return t.data(binary.BigEndian.Uint16(p[2:]), p[4:])
	}
	t.counters.strays.Add(1)
	return false, nil
}

// options takes the block size and file size out of an OACK.
func (t *transfer) options(p []byte) {
	f := bytes.Split(p, []byte{0})
	for i := 0; i+1 < len(f); i += 2 {
		v, err := strconv.ParseInt(string(f[i+1]), 10, 64)
		if err != nil || v < 0 {
			continue
		}
		switch string(bytes.ToLower(f[i])) {
		case "tsize":
			t.size = v
		case "blksize":
			if v >= 8 && v <= int64(len(t.buf)-4) {
				t.blk = int(v)
			}
		}
	}
}

func (t *transfer) data(block uint16, p []byte) (done bool, err error) {
	if t.probe {
		return true, t.terminate()
	}
	switch {
	case block == t.block && t.got > 0:
		// The server did not see the acknowledgement.
		return false, ignoreRefused(t.write(t.last, t.peer))
	case block != t.block+1 || len(p) > t.blk:
		t.counters.strays.Add(1)
		return false, nil
	}
	if t.trip && (t.got+int64(len(p)))*2 >= t.size {
		return true, errTripped
	}
	t.block = block
	t.got += int64(len(p))
	t.counters.octets.Add(int64(len(p)))
	if _, err := t.sink.Write(p); err != nil {
		return true, err
	}
	if err := t.pace(); err != nil {
		return true, err
	}
	return len(p) < t.blk, t.ack(block)
}

// pace waits when the file comes faster than the board could take it. Short
// waits are put off, so that they do not cost a timer each.
func (t *transfer) pace() error {
	if t.rate <= 0 {
		return nil
	}
	due := t.start.Add(time.Duration(float64(t.got) / t.rate * float64(time.Second)))
	if ahead := time.Until(due); ahead > 5*ms {
		return t.pause(ahead)
	}
	return nil
}

func (t *transfer) ack(block uint16) error {
	p := append(t.out[:0], 0, opACK)
	return t.send(binary.BigEndian.AppendUint16(p, block), t.peer)
}

// terminate ends a probe.
func (t *transfer) terminate() error {
	p := append(t.out[:0], 0, opError, 0, codeUndefined)
	t.counters.probes.Add(1)
	return ignoreRefused(t.write(append(append(p, earlyTerminate...), 0), t.peer))
}

func remoteError(p []byte) error {
	text, _, _ := bytes.Cut(p[4:], []byte{0})
	if code := binary.BigEndian.Uint16(p[2:]); code != codeNotFound {
		return fmt.Errorf("%w %d: %.80q", errTFTP, code, text)
	}
	return errNotFound
}
