package nfs3

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"
)

// Program numbers and versions.
const (
	progPortmap, versPortmap = 100000, 2
	// ProgNFS and ProgMount are the numbers to ask a portmapper for.
	ProgNFS, versNFS     = 100003, 3
	ProgMount, versMount = 100005, 3
)

// Procedures.
const (
	pmapGetPort = 3
	mountMnt    = 1
	nfsGetAttr  = 1
	nfsLookup   = 3
	nfsReadLink = 5
	nfsRead     = 6
	nfsFSInfo   = 19
)

// Bounds of what a server may send, in octets.
const (
	maxHandle = 64        // FHSIZE3
	maxPath   = 1024      // MNTPATHLEN
	maxRead   = 32 * 1024 // of one READ
	maxLinks  = 8         // followed in one path
)

// Handle is an opaque file handle.
type Handle []byte

// Status is an NFS or MOUNT status other than OK (RFC 1813, sections 2.6 and
// 5.1.5).
type Status uint32

// Statuses that a Pi's boot meets.
const (
	StatusPerm   Status = 1
	StatusNoEnt  Status = 2
	StatusAccess Status = 13
	StatusStale  Status = 70
)

var statusText = map[Status]string{
	StatusPerm:   "not owner",
	StatusNoEnt:  "no such file or directory",
	StatusAccess: "permission denied",
	StatusStale:  "stale file handle",
}

// Error is the meaning of the status.
func (s Status) Error() string {
	if t, ok := statusText[s]; ok {
		return t
	}
	return fmt.Sprintf("status %d", uint32(s))
}

// statusErr returns the status that d begins with as an error, or nil for OK.
func statusErr(d *decoder) error {
	if s := Status(d.uint32()); d.err == nil && s != 0 {
		return s
	}
	return d.err
}

// GetPort asks the server's portmapper (on port 111) for the TCP port of a
// program. The port is 0 when the program is not registered.
func (c *Conn) GetPort(prog uint32) (uint16, error) {
	vers := map[uint32]uint32{ProgNFS: versNFS, ProgMount: versMount}[prog]
	const tcp = 6
	d, err := c.call(progPortmap, versPortmap, pmapGetPort, func(e *encoder) {
		for _, v := range []uint32{prog, vers, tcp, 0} {
			e.uint32(v)
		}
	})
	if err != nil {
		return 0, fmt.Errorf("nfs3: getport: %w", err)
	}
	port := d.uint32()
	if d.err != nil || port > 0xffff {
		return 0, fmt.Errorf("nfs3: getport: %w", errShort)
	}
	return uint16(port), nil
}

// Mount asks for the root handle of an export. A refusal is a [Status].
func (c *Conn) Mount(dir string) (Handle, error) {
	d, err := c.call(ProgMount, versMount, mountMnt, func(e *encoder) { e.opaque([]byte(dir)) })
	if err == nil {
		err = statusErr(d)
	}
	if err != nil {
		return nil, fmt.Errorf("nfs3: mount %s: %w", dir, err)
	}
	h := bytes.Clone(d.opaque(maxHandle))
	if d.err != nil {
		return nil, fmt.Errorf("nfs3: mount %s: %w", dir, d.err)
	}
	return h, nil
}

// FSInfo asks for the file system's limits, as a client does right after
// mounting. The answer is only checked.
func (c *Conn) FSInfo(root Handle) error { return c.check("fsinfo", nfsFSInfo, root) }

// GetAttr asks for a file's attributes, which shows whether the handle is still
// good. A removed file is [StatusStale].
func (c *Conn) GetAttr(h Handle) error { return c.check("getattr", nfsGetAttr, h) }

func (c *Conn) check(what string, proc uint32, h Handle) error {
	d, err := c.call(ProgNFS, versNFS, proc, func(e *encoder) { e.opaque(h) })
	if err == nil {
		err = statusErr(d)
	}
	if err != nil {
		return fmt.Errorf("nfs3: %s: %w", what, err)
	}
	return nil
}

// lookup finds one name in a directory.
func (c *Conn) lookup(dir Handle, name string) (Handle, bool, error) {
	d, err := c.call(ProgNFS, versNFS, nfsLookup, func(e *encoder) {
		e.opaque(dir)
		e.opaque([]byte(name))
	})
	if err == nil {
		err = statusErr(d)
	}
	if err != nil {
		return nil, false, err
	}
	h := bytes.Clone(d.opaque(maxHandle))
	link := postOpType(d) == typeLink
	return h, link, d.err
}

// typeLink is NF3LNK, and attrLen the length of fattr3, in octets.
const (
	typeLink = 5
	attrLen  = 84
)

// postOpType skips a post_op_attr and returns the file's type, or 0 when the
// server left the attributes out.
func postOpType(d *decoder) uint32 {
	if d.uint32() == 0 {
		return 0
	}
	t := d.uint32()
	d.next(attrLen - 4)
	return t
}

// readLink returns the target of a symbolic link.
func (c *Conn) readLink(h Handle) (string, error) {
	d, err := c.call(ProgNFS, versNFS, nfsReadLink, func(e *encoder) { e.opaque(h) })
	if err == nil {
		err = statusErr(d)
	}
	if err != nil {
		return "", err
	}
	postOpType(d)
	return string(d.opaque(maxPath)), d.err
}

// ReadFile reads at most limit octets of the file at a path beneath root,
// following symbolic links, none of which leads above root. A missing file is
// [StatusNoEnt].
func (c *Conn) ReadFile(root Handle, name string, limit int) ([]byte, error) {
	h, err := c.resolve(root, name)
	if err != nil {
		return nil, fmt.Errorf("nfs3: read %s: %w", name, err)
	}
	var out []byte
	for len(out) < limit {
		part, eof, err := c.read(h, uint64(len(out)), min(limit-len(out), maxRead))
		if err != nil {
			return nil, fmt.Errorf("nfs3: read %s: %w", name, err)
		}
		out = append(out, part...)
		if eof || len(part) == 0 {
			break
		}
	}
	return out, nil
}

var errLinks = errors.New("too many symbolic links")

func (c *Conn) resolve(root Handle, name string) (Handle, error) {
	var at []Handle // the way from root, without root
	rest := strings.Split(path.Clean("/" + name)[1:], "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = at[:max(0, len(at)-1)]
			continue
		}
		from := root
		if len(at) > 0 {
			from = at[len(at)-1]
		}
		h, link, err := c.lookup(from, part)
		if err != nil {
			return nil, err
		}
		if !link {
			at = append(at, h)
			continue
		}
		if links++; links > maxLinks {
			return nil, errLinks
		}
		target, err := c.readLink(h)
		if err != nil {
			return nil, err
		}
		if path.IsAbs(target) {
			at = nil
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	if len(at) == 0 {
		return root, nil
	}
	return at[len(at)-1], nil
}

func (c *Conn) read(h Handle, off uint64, n int) ([]byte, bool, error) {
	d, err := c.call(ProgNFS, versNFS, nfsRead, func(e *encoder) {
		e.opaque(h)
		e.uint64(off)
		e.uint32(uint32(n))
	})
	if err == nil {
		err = statusErr(d)
	}
	if err != nil {
		return nil, false, err
	}
	postOpType(d)
	d.uint32() // count, the same as the length of the data
	eof := d.uint32() != 0
	return d.opaque(n), eof, d.err
}
