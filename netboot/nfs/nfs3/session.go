package nfs3

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
)

// maxRefusals is how many mounts may be refused on one connection before it
// is dropped, so that a client in a loop cannot flood the log.
const maxRefusals = 32

var (
	errTooManyRefusals = errors.New("too many refused mounts")
	errPanicked        = errors.New("server fault")
)

// session is one client connection's state. It is used by one goroutine.
type session struct {
	server   *Server
	client   netip.Addr
	refusals int
	listing  listing
	scratch  []byte // maxRead bytes once something was read
}

// handle answers one record, appending the reply to w. An error means that
// the connection must be dropped; w may then still hold a reply to send.
func (s *session) handle(rec, w []byte) (reply []byte, err error) {
	c, err := parseCall(rec)
	if err != nil {
		return w, err
	}
	head := len(w)
	defer func() {
		// A fault of ours on one call must not take down the other Pis' roots.
		if p := recover(); p != nil {
			s.server.log.Error("nfs call panicked", "client", s.client, "prog", c.prog, "proc", c.proc,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			reply, err = appendAccepted(w[:head], c.xid, acceptSystemErr), errPanicked
		}
	}()
	switch {
	case c.rpcvers != rpcVersion:
		return appendDenied(w, c.xid, rejectRPCMismatch, rpcVersion, rpcVersion), nil
	case c.badCred:
		return appendDenied(w, c.xid, rejectAuthError, authBadCred), nil
	case c.prog != programNFS && c.prog != programMount:
		return appendAccepted(w, c.xid, acceptProgUnavail), nil
	case c.vers != version3:
		w = appendAccepted(w, c.xid, acceptProgMismatch)
		return appendUint32(appendUint32(w, version3), version3), nil
	case c.proc == 0: // NULL
		return appendAccepted(w, c.xid, acceptSuccess), nil
	case c.prog == programMount:
		return s.mountCall(&c, w)
	}
	return s.nfsCall(&c, w), nil
}

func (s *session) nfsCall(c *call, w []byte) []byte {
	proc, known := nfsProcedures[c.proc]
	if !known {
		return appendAccepted(w, c.xid, acceptProcUnavail)
	}
	head := len(w)
	w = appendAccepted(w, c.xid, acceptSuccess)
	r := request{session: s, args: &c.args, who: c.who}
	body := len(w)
	w, result := s.run(proc, &r, appendUint32(w, uint32(ok)))
	switch {
	case c.args.bad:
		return appendAccepted(w[:head], c.xid, acceptGarbageArgs)
	case result != ok:
		w = appendUint32(w[:body], uint32(result))
		return append(w, make([]byte, proc.failLen)...)
	}
	return w
}

// run finds the file that the call is about and runs the procedure on it.
// It always returns w or w grown.
func (s *session) run(proc procedure, r *request, w []byte) ([]byte, status) {
	raw := r.args.opaque(maxHandle)
	if r.args.bad {
		return w, ok
	}
	if len(raw) != handleLen {
		return w, errBadHandle
	}
	t := s.server.treeOf(token(raw[:tokenLen]), s.client)
	if t == nil {
		return w, errStale
	}
	t.use.RLock()
	defer t.use.RUnlock()
	if t.closed {
		return w, errStale
	}
	d := decoder{b: raw[tokenLen:]}
	var result status
	if r.file, result = t.file(d.uint64()); result != ok {
		return w, result
	}
	out, result := proc.run(r, w)
	if result != ok || r.args.bad {
		return w, result
	}
	return out, ok
}
