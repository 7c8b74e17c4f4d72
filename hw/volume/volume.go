// Package volume keeps the root file systems of Raspberry Pis: each is a
// volume, made as a copy of an image. Drivers are in packages of their own;
// volumetest has the tests that each must pass.
package volume

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrInvalidName means that a name of a volume or image is not allowed: see [CheckName].
	ErrInvalidName = errors.New("invalid name")
	// ErrNotFound means that there is no such volume or image.
	ErrNotFound = errors.New("not found")
	// ErrTooDeep means that a tree has folders nested deeper than the driver goes.
	ErrTooDeep = errors.New("folders are nested too deep")
)

// Info is one volume.
type Info struct {
	Name    string
	Created time.Time
}

// Driver keeps volumes. Every call is idempotent, so that a job's step can be
// run again after a crash, and is safe for concurrent use. What is in a volume
// was written by a customer: no driver follows a link in it. When ctx ends, a
// call returns its cause soon, and calling again goes on.
type Driver interface {
	// Clone makes a volume with the content of an image. The volume is there
	// whole or not at all, whenever the process or the power is cut. If it
	// exists, it is left as it is. progress may be nil; else it is told the
	// bytes done of the bytes in all, which never fall, from one goroutine,
	// and must not block. Errors: ErrInvalidName; ErrNotFound if there is no
	// such image.
	Clone(ctx context.Context, image, volume string, progress func(done, total int64)) error
	// Path is the folder at which the volume's files are on this host.
	// Errors: ErrInvalidName, ErrNotFound.
	Path(volume string) (string, error)
	// Exists reports whether the volume is there whole.
	Exists(ctx context.Context, volume string) (bool, error)
	// List returns all volumes, sorted by name.
	List(ctx context.Context) ([]Info, error)
	// Remove deletes the volume. It is gone for the other calls at once; what
	// is left of an earlier, half-done removal is deleted too. A volume that
	// does not exist is no error.
	Remove(ctx context.Context, volume string) error
	// Usage returns the bytes that the volume takes on the disk. Blocks that
	// it shares with others count for each of them.
	Usage(ctx context.Context, volume string) (bytes int64, err error)
}

// MaxName is how long a name may be. It leaves room for a driver's own
// prefixes in a file name or in the name of a logical volume.
const MaxName = 64

// CheckName returns nil if name can be that of a volume or image, else an
// error that wraps [ErrInvalidName]. Letters, digits, dots, hyphens and
// underscores are allowed, and the first is a letter or a digit: no name has a
// path separator, is hidden, or reads as an option.
func CheckName(name string) error {
	if len(name) < 1 || len(name) > MaxName {
		return fmt.Errorf("%w: %.80q: want 1 to %d characters", ErrInvalidName, name, MaxName)
	}
	for i, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case (r == '.' || r == '-' || r == '_') && i > 0:
		default:
			return fmt.Errorf("%w: %.80q: want letters, digits, and . - _ between them", ErrInvalidName, name)
		}
	}
	return nil
}
