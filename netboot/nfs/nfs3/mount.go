package nfs3

import (
	"fmt"

	"picloud/netboot/nfs"
)

// Procedures of the MOUNT program, RFC 1813, section 5.2.
const (
	mountMnt     = 1
	mountDump    = 2
	mountUmnt    = 3
	mountUmntAll = 4
	mountExport  = 5
)

func (s *session) mountCall(c *call, w []byte) ([]byte, error) {
	switch c.proc {
	case mountMnt:
		return s.mount(c, w)
	case mountUmnt:
		p := c.args.opaque(nfs.MaxPath)
		if c.args.bad {
			return appendAccepted(w, c.xid, acceptGarbageArgs), nil
		}
		if t := s.server.exportOf(s.client, string(p)); t != nil {
			s.server.emit(Event{Kind: EventUnmounted, Client: s.client, Path: t.Path, ID: t.ID})
		}
		return appendAccepted(w, c.xid, acceptSuccess), nil
	case mountUmntAll:
		return appendAccepted(w, c.xid, acceptSuccess), nil
	case mountDump: // nobody is told who else has mounted what
		return appendBool(appendAccepted(w, c.xid, acceptSuccess), false), nil
	case mountExport:
		return s.exports(appendAccepted(w, c.xid, acceptSuccess)), nil
	}
	return appendAccepted(w, c.xid, acceptProcUnavail), nil
}

// mount answers MNT. A path that is not exported to this client gives
// MNT3ERR_ACCES, whether or not it exists: the paths of others are not told.
func (s *session) mount(c *call, w []byte) ([]byte, error) {
	raw := c.args.opaque(maxRecord)
	if c.args.bad {
		return appendAccepted(w, c.xid, acceptGarbageArgs), nil
	}
	w = appendAccepted(w, c.xid, acceptSuccess)
	if len(raw) > nfs.MaxPath {
		return s.refuse(w, string(raw[:nfs.MaxPath]), errNameTooLong, "path too long")
	}
	p := string(raw)
	t := s.server.exportOf(s.client, p)
	if t == nil {
		return s.refuse(w, p, errAccess, s.server.whyRefused(s.client, p))
	}
	t.use.RLock()
	defer t.use.RUnlock()
	if t.closed {
		return s.refuse(w, p, errAccess, "export was just removed")
	}
	if _, result := t.file(t.ino); result != ok {
		return s.refuse(w, p, errNoEnt, fmt.Sprintf("folder %s is gone", t.Dir))
	}
	s.server.emit(Event{Kind: EventMounted, Client: s.client, Path: p, ID: t.ID})
	w = appendUint32(w, uint32(ok))
	w = appendOpaque(w, t.handle(t.ino))
	for _, v := range [...]uint32{2, authSys, authNone} { // the flavors that are taken
		w = appendUint32(w, v)
	}
	return w, nil
}

func (s *session) refuse(w []byte, p string, result status, why string) ([]byte, error) {
	s.server.emit(Event{Kind: EventRefused, Client: s.client, Path: p, Reason: why})
	w = appendUint32(w, uint32(result))
	s.refusals++
	if s.refusals >= maxRefusals {
		return w, errTooManyRefusals
	}
	return w, nil
}

// exports answers EXPORT with what this client may mount, and for whom: itself.
func (s *session) exports(w []byte) []byte {
	for _, e := range s.server.exportsOf(s.client) {
		w = appendOpaque(appendBool(w, true), e.Path)
		w = appendOpaque(appendBool(w, true), e.Client.String())
		w = appendBool(w, false) // end of groups
	}
	return appendBool(w, false)
}
