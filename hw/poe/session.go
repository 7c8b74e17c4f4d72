package poe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/gosnmp/gosnmp"
)

// session is the SNMP conversation with one switch. It is for one goroutine at
// a time: gosnmp's requests are not safe in parallel.
type session struct {
	cfg Config
	g   *gosnmp.GoSNMP // nil: to be opened
}

// open makes the socket. SNMPv3 asks for the engine's id, boots and time with
// the first request.
func (s *session) open(ctx context.Context) (*gosnmp.GoSNMP, error) {
	if s.g != nil {
		return s.g, nil
	}
	g := &gosnmp.GoSNMP{
		Target: s.cfg.Addr.Addr().String(), Port: s.cfg.Addr.Port(), Transport: "udp",
		Version: gosnmp.Version2c, Community: string(s.cfg.Community),
		Timeout: s.cfg.Timeout, Retries: s.cfg.Retries,
		MaxOids: s.cfg.MaxOIDs, MaxRepetitions: uint32(s.cfg.MaxRepetitions),
		Context: ctx,
	}
	if s.cfg.Version == V3 {
		g.Version, g.Community, g.SecurityModel = gosnmp.Version3, "", gosnmp.UserSecurityModel
		g.SecurityParameters, g.MsgFlags = s.cfg.User.security()
		g.ContextName = s.cfg.User.Context
	}
	if err := g.Connect(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	s.g = g
	return g, nil
}

func (s *session) close() {
	if s.g != nil {
		_ = s.g.Close()
		s.g = nil
	}
}

type request func(*gosnmp.GoSNMP) (*gosnmp.SnmpPacket, error)

// do sends a request and checks what comes back. A session that failed is not
// used again: an SNMPv3 session that lost the engine's boots and time never
// recovers. For the same reason one SNMPv3 failure other than silence is tried
// again on a new session; every request that this package sends may be repeated.
func (s *session) do(ctx context.Context, send request) (*gosnmp.SnmpPacket, error) {
	pkt, err := s.once(ctx, send)
	if err != nil && s.cfg.Version == V3 && s.g == nil && ctx.Err() == nil && !errors.Is(err, ErrNoAnswer) {
		pkt, err = s.once(ctx, send)
	}
	return pkt, err
}

func (s *session) once(ctx context.Context, send request) (*gosnmp.SnmpPacket, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	g.Context = ctx
	// gosnmp looks at the context between tries only; a closed socket ends
	// the present one.
	conn := g.Conn
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	pkt, err := send(g)
	if !stop() {
		s.close()
		return nil, ctx.Err()
	}
	if err == nil {
		err = checkPacket(pkt, g.Version)
	} else {
		err = s.classify(err)
	}
	var status *statusError
	if err != nil && !errors.As(err, &status) {
		s.close()
	}
	return pkt, err
}

// checkPacket makes sure that a packet is a successful answer.
func checkPacket(pkt *gosnmp.SnmpPacket, version gosnmp.SnmpVersion) error {
	switch {
	case pkt == nil:
		return fmt.Errorf("%w: none", ErrAnswer)
	case pkt.Version != version || pkt.PDUType != gosnmp.GetResponse:
		return fmt.Errorf("%w: a PDU of type %#x and version %v", ErrAnswer, byte(pkt.PDUType), pkt.Version)
	case pkt.Error == gosnmp.NoError:
		return nil
	}
	e := &statusError{status: pkt.Error, index: int(pkt.ErrorIndex)}
	if e.index > 0 && e.index <= len(pkt.Variables) {
		e.oid = pkt.Variables[e.index-1].Name
	}
	return e
}

// classify turns gosnmp's errors into this package's.
func (s *session) classify(err error) error {
	var netErr net.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, gosnmp.ErrMaxRetriesExceeded):
		return fmt.Errorf("%w after %d tries of %v", ErrNoAnswer, s.cfg.Retries+1, s.cfg.Timeout)
	case errors.As(err, &netErr):
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	case errors.Is(err, gosnmp.ErrUnknownUsername), errors.Is(err, gosnmp.ErrWrongDigest),
		errors.Is(err, gosnmp.ErrDecryption), errors.Is(err, gosnmp.ErrUnknownSecurityLevel),
		// The Report that says "unknown user" cannot be authenticated, and
		// gosnmp has no error value for that.
		s.cfg.Version == V3 && strings.Contains(err.Error(), "not authentic"):
		return fmt.Errorf("%w: %w", ErrAuth, err)
	case strings.HasPrefix(err.Error(), "recover:"):
		// gosnmp caught a panic of its decoder and added a stack.
		return fmt.Errorf("%w: the decoder gave up", ErrAnswer)
	}
	return fmt.Errorf("%w: %w", ErrAnswer, err)
}

// get reads objects. The answers stand in the order of oids; an object that the
// switch does not have is NoSuchObject or NoSuchInstance.
func (s *session) get(ctx context.Context, oids []string) ([]gosnmp.SnmpPDU, error) {
	out := make([]gosnmp.SnmpPDU, 0, len(oids))
	for chunk := range slices.Chunk(oids, s.cfg.MaxOIDs) {
		vars, err := s.getChunk(ctx, chunk)
		if err != nil {
			return nil, err
		}
		out = append(out, vars...)
	}
	return out, nil
}

// getChunk reads what fits one request, or in parts where the switch says that
// it does not. Some agents refuse the whole request for one object that they
// lack or cannot read just now: that one is left out. Each further request is
// for fewer objects, so there are at most twice as many requests as objects.
func (s *session) getChunk(ctx context.Context, oids []string) ([]gosnmp.SnmpPDU, error) {
	if len(oids) == 0 {
		return nil, nil
	}
	pkt, err := s.do(ctx, func(g *gosnmp.GoSNMP) (*gosnmp.SnmpPacket, error) { return g.Get(oids) })
	var status *statusError
	switch {
	case err == nil:
		if err = align(oids, pkt.Variables); err != nil {
			s.close()
			return nil, err
		}
		return pkt.Variables, nil
	case !errors.As(err, &status):
		return nil, err
	case status.status == gosnmp.TooBig && len(oids) > 1:
		return s.getParts(ctx, oids[:len(oids)/2], oids[len(oids)/2:])
	case absentee(status) && status.index >= 1 && status.index <= len(oids):
		i := status.index - 1
		return s.getParts(ctx, oids[:i], oids[i+1:], gosnmp.SnmpPDU{Name: oids[i], Type: gosnmp.NoSuchInstance})
	}
	return nil, err
}

func (s *session) getParts(ctx context.Context, before, after []string, between ...gosnmp.SnmpPDU) ([]gosnmp.SnmpPDU, error) {
	left, err := s.getChunk(ctx, before)
	if err != nil {
		return nil, err
	}
	right, err := s.getChunk(ctx, after)
	if err != nil {
		return nil, err
	}
	return slices.Concat(left, between, right), nil
}

// absentee tells whether a status is about one object and not about the request.
func absentee(e *statusError) bool {
	switch e.status {
	case gosnmp.NoSuchName, gosnmp.GenErr, gosnmp.NoAccess, gosnmp.AuthorizationError:
		return true
	}
	return false
}

// align checks that the answer is about the objects that were asked for, in
// that order (RFC 3416, section 4.2.1).
func align(oids []string, vars []gosnmp.SnmpPDU) error {
	if len(vars) != len(oids) {
		return fmt.Errorf("%w: %d objects, asked for %d", ErrAnswer, len(vars), len(oids))
	}
	for i, v := range vars {
		if v.Name != oids[i] {
			return fmt.Errorf("%w: %.200s, asked for %s", ErrAnswer, v.Name, oids[i])
		}
	}
	return nil
}

// set writes one INTEGER.
func (s *session) set(ctx context.Context, oid string, value int) error {
	_, err := s.do(ctx, func(g *gosnmp.GoSNMP) (*gosnmp.SnmpPacket, error) {
		return g.Set([]gosnmp.SnmpPDU{{Name: oid, Type: gosnmp.Integer, Value: value}})
	})
	return err
}

// walk reads every instance of a column and calls row with its index. More
// rows than limit, or rows that do not increase, are an error: a walk over
// them might never end.
func (s *session) walk(ctx context.Context, column string, limit int, row func(index []uint32, v gosnmp.SnmpPDU)) error {
	root, err := parseOID(column)
	if err != nil {
		return err
	}
	w := walker{root: root, last: root, limit: limit, row: row}
	for next := column; ; next = formatOID(w.last) {
		pkt, err := s.do(ctx, func(g *gosnmp.GoSNMP) (*gosnmp.SnmpPacket, error) {
			return g.GetBulk([]string{next}, 0, uint32(s.cfg.MaxRepetitions))
		})
		var status *statusError
		if errors.As(err, &status) && status.status == gosnmp.NoSuchName {
			return nil // how some agents say that the MIB ends here
		}
		if err != nil {
			return err
		}
		ended, err := w.take(pkt.Variables)
		if err != nil {
			s.close()
			return err
		}
		if ended {
			return nil
		}
	}
}

// walker checks the rows of a walk.
type walker struct {
	root, last []uint32
	limit      int
	row        func(index []uint32, v gosnmp.SnmpPDU)
}

// take checks and delivers the rows of one answer and tells whether the column
// has ended.
func (w *walker) take(vars []gosnmp.SnmpPDU) (ended bool, err error) {
	if len(vars) == 0 {
		return false, fmt.Errorf("%w: no objects to a walk", ErrAnswer)
	}
	for _, v := range vars {
		if v.Type == gosnmp.EndOfMibView || v.Type == gosnmp.NoSuchObject || v.Type == gosnmp.NoSuchInstance {
			return true, nil
		}
		oid, err := parseOID(v.Name)
		if err != nil {
			return false, err
		}
		if len(oid) <= len(w.root) || !slices.Equal(oid[:len(w.root)], w.root) {
			return true, nil
		}
		if slices.Compare(oid, w.last) <= 0 {
			return false, fmt.Errorf("%w: a walk does not increase at %.200s", ErrAnswer, v.Name)
		}
		if w.limit--; w.limit < 0 {
			return false, fmt.Errorf("%w: a walk does not end", ErrAnswer)
		}
		w.last = oid
		w.row(oid[len(w.root):], v)
	}
	return false, nil
}

// maxSubIDs is the longest object identifier of SMIv2 (RFC 2578, section 3.5).
const maxSubIDs = 128

func parseOID(s string) ([]uint32, error) {
	parts := strings.Split(strings.TrimPrefix(s, "."), ".")
	if len(parts) > maxSubIDs {
		return nil, fmt.Errorf("%w: an object identifier of %d parts", ErrAnswer, len(parts))
	}
	oid := make([]uint32, len(parts))
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%w: object identifier %.200q", ErrAnswer, s)
		}
		oid[i] = uint32(n)
	}
	return oid, nil
}

func formatOID(oid []uint32) string {
	b := make([]byte, 0, len(oid)*4)
	for _, n := range oid {
		b = append(b, '.')
		b = strconv.AppendUint(b, uint64(n), 10)
	}
	return string(b)
}
