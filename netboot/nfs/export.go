// Package nfs publishes the roots of Raspberry Pis over NFS and watches who
// has mounted them.
//
// An [Exporter] adds and removes one export at a time; the servers behind it
// are in packages of their own. [Watch] tells, for every kind of server, which
// Pi has its root mounted: it reads the kernel's table of TCP connections
// (INET_DIAG, sock_diag(7)) and asks the server nothing.
package nfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"path/filepath"
	"strings"
)

// Limits of an export's strings. The path limit is MNTPATHLEN of RFC 1813,
// section 5.1.4.
const (
	MaxID   = 255
	MaxPath = 1024
)

var (
	// ErrInvalidExport means that an [Export] cannot be published by any server.
	ErrInvalidExport = errors.New("invalid export")
	// ErrConflict means that another export already has this path for this client,
	// or this folder for any: two Pis that write one root destroy it.
	ErrConflict = errors.New("another export has it already")
	// ErrNotSupported means that this kind of server cannot publish the export as asked.
	ErrNotSupported = errors.New("not supported by this server")
	// ErrUnavailable means that this host cannot run this kind of server: what
	// is missing, and what to do, is in the text.
	ErrUnavailable = errors.New("NFS server is not available")
	// ErrClosed means that the server has ended.
	ErrClosed = errors.New("server closed")
)

// Export is one root, published to one Pi.
type Export struct {
	ID       string     // names the export to whoever adds and removes it; unique
	Dir      string     // absolute folder on the server
	Path     string     // absolute path as the Pi gives it in nfsroot=
	Client   netip.Addr // the IPv4 address of the one Pi that may mount it
	ReadOnly bool       // writes are answered with NFS3ERR_ROFS
}

// FSID returns the export's own file system identity. It depends on the ID
// alone, so that it survives restarts and two exports of one disk never share
// it. The kernel's server takes it as fsid=<uuid> (exports(5)).
func (e Export) FSID() [16]byte {
	sum := sha256.Sum256([]byte("picloud export\x00" + e.ID))
	return [16]byte(sum[:16])
}

// Validate returns nil if the export can be published, else an error that
// wraps [ErrInvalidExport] and names the field. White space, control
// characters, quotes and backslashes are refused in Path and Dir, because
// exports(5), nfsroot= and the kernel's command line each read them in their
// own way.
func (e Export) Validate() error {
	switch {
	case e.ID == "" || len(e.ID) > MaxID || strings.ContainsFunc(e.ID, unprintable):
		return fmt.Errorf("%w: id %.40q: want 1 to %d printable characters", ErrInvalidExport, e.ID, MaxID)
	case !filepath.IsAbs(e.Dir) || filepath.Clean(e.Dir) != e.Dir || strings.ContainsRune(e.Dir, 0):
		return fmt.Errorf("%w: dir %.80q: want an absolute, clean path", ErrInvalidExport, e.Dir)
	case !path.IsAbs(e.Path) || path.Clean(e.Path) != e.Path || len(e.Path) > MaxPath:
		return fmt.Errorf("%w: path %.80q: want an absolute, clean path of at most %d bytes", ErrInvalidExport, e.Path, MaxPath)
	case strings.ContainsFunc(e.Path, ambiguous):
		return fmt.Errorf("%w: path %.80q: only letters, digits and ._-/+@: may be used", ErrInvalidExport, e.Path)
	case !e.Client.Is4() || e.Client.IsUnspecified() || e.Client.IsMulticast():
		return fmt.Errorf("%w: client %v: want the IPv4 address of one Pi", ErrInvalidExport, e.Client)
	}
	return nil
}

func unprintable(r rune) bool { return r <= ' ' || r >= 0x7f }

func ambiguous(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("._-/+@:", r)
}

// Exporter publishes roots, one at a time. Every call is idempotent, so that
// a job step can be run again after a crash, and leaves all other exports and
// their clients alone. It is safe for concurrent use.
type Exporter interface {
	// Add publishes e. Adding the same export again does nothing; adding
	// another one under the same ID replaces it, and file handles of the
	// former are then stale. Errors: [ErrInvalidExport], [ErrConflict],
	// [ErrNotSupported], [ErrClosed], or what the file system said about Dir.
	Add(ctx context.Context, e Export) error
	// Remove withdraws the export. When it returns, the export cannot be
	// mounted and its file handles are stale. An unknown id is no error.
	Remove(ctx context.Context, id string) error
	// List returns all exports, sorted by ID.
	List(ctx context.Context) ([]Export, error)
}
