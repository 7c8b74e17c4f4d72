// Package volume keeps the root file systems of Raspberry Pis: each is a
// volume, made as a copy of an image. Drivers are in packages of their own;
// volumetest has the tests that each must pass.
//
// # Which driver
//
// Package lvmthin keeps each root in a file system of its own. It is the one
// for customers: whoever is root on a Pi can make up NFS file handles, and a
// handle names a file by its number within a file system, so that roots which
// share a file system are parted by the NFS server's care alone.
// Package btrfs makes every volume a subvolume, for a lab; package folder
// copies, for the demo and wherever nothing else works.
package volume

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrInvalidName means that a name of a volume, snapshot or image is not allowed: see [CheckName].
	ErrInvalidName = errors.New("invalid name")
	// ErrNotFound means that there is no such volume, snapshot or image.
	ErrNotFound = errors.New("not found")
	// ErrTooDeep means that a tree has folders nested deeper than the driver goes.
	ErrTooDeep = errors.New("folders are nested too deep")
	// ErrPoolNearlyFull means that the pool that all volumes share has no room
	// for new ones. The last of it is kept for the volumes that are running: a
	// pool that is full stops every Pi.
	ErrPoolNearlyFull = errors.New("pool is nearly full")
	// ErrNotSupported means that this driver cannot do what was asked: see [Features].
	ErrNotSupported = errors.New("not supported by this driver")
	// ErrInvalidSize means that a size is not positive, is larger than the
	// driver's limit, or is smaller than what the volume has.
	ErrInvalidSize = errors.New("invalid size")
	// ErrBusy means that someone has the volume open: withdraw its export first.
	ErrBusy = errors.New("volume is in use")
)

// Info is one volume, snapshot or image.
type Info struct {
	Name    string
	Created time.Time
	Size    int64 // bytes that it may hold; 0 if the driver sets no limit
}

// Pool is the room that all volumes of a driver share.
type Pool struct {
	Size, Used int64   // bytes
	Metadata   float64 // how much of the room for metadata is used, 0 to 1; 0 if it has none of its own
	// NearlyFull is the alarm: new clones, images and snapshots and growth are
	// refused with ErrPoolNearlyFull, so that running volumes can go on.
	NearlyFull bool
}

// Features says how a driver does what it does.
type Features struct {
	// Copies is set if clones and snapshots copy every file, which takes time
	// and room; otherwise they take neither.
	Copies bool
	// Quota is set if a volume has a size that it cannot outgrow.
	Quota bool
	// OwnFileSystem is set if no two volumes share a file system, so that no
	// file handle of one can name a file of another.
	OwnFileSystem bool
}

// Driver keeps volumes. Every call is idempotent, so that a job's step can be
// run again after a crash, and is safe for concurrent use. What is in a volume
// was written by a customer: no driver follows a link in it. When ctx ends, a
// call returns its cause soon, and calling again goes on.
//
// Any call that is given a name that [CheckName] refuses returns
// ErrInvalidName and has done nothing.
type Driver interface {
	// Features says how this driver works. It is the same as long as the driver is open.
	Features() Features
	// Pool returns how full the driver's disk is.
	Pool(ctx context.Context) (Pool, error)
	// Recover deletes what calls that a crash cut short have left, and makes
	// the volumes' files reachable after a restart of the host. Call it before
	// any other call; it may be called again beside others.
	Recover(ctx context.Context) error

	// Import makes an image of what fill writes into the empty folder dir. The
	// image is there whole or not at all: an error of fill, and a crash, leave
	// nothing. If it exists, it is left as it is and fill is not called. size
	// is how many bytes it may hold, where the driver needs to know; at most 0
	// means its default. Errors: ErrPoolNearlyFull, ErrInvalidSize, fill's.
	Import(ctx context.Context, image string, size int64, fill func(ctx context.Context, dir string) error) error
	// Images returns all images, sorted by name.
	Images(ctx context.Context) ([]Info, error)
	// RemoveImage deletes an image. Volumes that were cloned from it stay
	// whole. One that does not exist is no error.
	RemoveImage(ctx context.Context, image string) error

	// Clone makes a volume with the content of an image, and its size. The
	// volume is there whole or not at all, whenever the process or the power
	// is cut. If it exists, it is left as it is. progress may be nil; else it
	// is told the bytes done of the bytes in all, which never fall, from one
	// goroutine, and must not block. Errors: ErrNotFound if there is no such
	// image, ErrPoolNearlyFull.
	Clone(ctx context.Context, image, volume string, progress func(done, total int64)) error
	// Grow gives a volume room for size bytes, also while its Pi is running.
	// Errors: ErrNotFound; ErrInvalidSize if it has more than that already;
	// ErrNotSupported without Features.Quota; ErrPoolNearlyFull.
	Grow(ctx context.Context, volume string, size int64) error
	// Wipe leaves a volume empty, with the same name and size. Its snapshots
	// stay. A crash leaves the former content whole or none of it. Nobody may
	// have the volume open. Errors: ErrNotFound, ErrBusy.
	Wipe(ctx context.Context, volume string) error
	// Path is the folder at which the volume's files are on this host. It
	// stays the same as long as the volume exists. Errors: ErrNotFound.
	Path(volume string) (string, error)
	// Exists reports whether the volume is there whole.
	Exists(ctx context.Context, volume string) (bool, error)
	// List returns all volumes, sorted by name.
	List(ctx context.Context) ([]Info, error)
	// Remove deletes the volume and its snapshots. They are gone for the other
	// calls at once; what is left of an earlier, half-done removal is deleted
	// too. A volume that does not exist is no error. Errors: ErrBusy.
	Remove(ctx context.Context, volume string) error
	// Usage returns the bytes that count against the volume's size, which may
	// leave out what it shares with its image, and never more than it takes on
	// the disk. Errors: ErrNotFound.
	Usage(ctx context.Context, volume string) (bytes int64, err error)
	// Trim gives blocks that a volume's deleted files took back to the pool and
	// returns how many bytes those were, 0 where nothing has to be given back.
	// Errors: ErrNotFound.
	Trim(ctx context.Context, volume string) (freed int64, err error)

	// Snapshot keeps the volume's content, as it is at this moment, under a
	// name. If the volume has a snapshot of this name, it is left as it is.
	// Errors: ErrNotFound, ErrPoolNearlyFull.
	Snapshot(ctx context.Context, volume, snapshot string) error
	// Snapshots returns the snapshots of a volume, sorted by name; none if
	// there is no such volume.
	Snapshots(ctx context.Context, volume string) ([]Info, error)
	// Rollback gives a volume the content that it had at a snapshot, which
	// stays; what was written since is lost. A crash leaves the one or the
	// other, whole. Nobody may have the volume open. Errors: ErrNotFound,
	// ErrBusy.
	Rollback(ctx context.Context, volume, snapshot string) error
	// RemoveSnapshot deletes a snapshot. One that does not exist is no error.
	RemoveSnapshot(ctx context.Context, volume, snapshot string) error
}

// MaxName is how long a name may be. It leaves room for a driver's own
// prefixes in a file name or in the name of a logical volume.
const MaxName = 64

// CheckName returns nil if name can be that of a volume, snapshot or image,
// else an error that wraps [ErrInvalidName]. Letters, digits, dots, hyphens and
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

// CheckNames is CheckName for several names.
func CheckNames(names ...string) error {
	for _, name := range names {
		if err := CheckName(name); err != nil {
			return err
		}
	}
	return nil
}

// DefaultNearlyFull is the share of a pool at which the alarm goes off, if a
// driver's options say nothing else.
const DefaultNearlyFull = 0.9

// Admit returns nil if the pool has room for new work, else an error that
// wraps [ErrPoolNearlyFull] and says how full it is and what to do.
func (p Pool) Admit() error {
	if !p.NearlyFull {
		return nil
	}
	full := 0.0
	if p.Size > 0 {
		full = 100 * float64(p.Used) / float64(p.Size)
	}
	return fmt.Errorf("%w: %.1f %% of %.1f GB used, metadata %.1f %% (delete volumes or snapshots, or add a disk)",
		ErrPoolNearlyFull, full, float64(p.Size)/1e9, 100*p.Metadata)
}
