package daemon

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"picloud/hw/volume"
)

// When the blocks of deleted files are given back to the pool: not at each
// deletion, which would cost the Pis time, and one volume after the other.
const (
	trimFirst = time.Hour // after the start: then a rack has booted
	trimEvery = 24 * time.Hour
	trimPause = 10 * time.Second
)

// trim gives the room of deleted files back, until ctx ends. Volumes that share
// a file system have nothing to give back.
func trim(ctx context.Context, volumes volume.Driver, log *slog.Logger) error {
	if !volumes.Features().OwnFileSystem {
		return nil
	}
	for wait := trimFirst; pause(ctx, wait); wait = trimEvery {
		list, err := volumes.List(ctx)
		if err != nil {
			log.Warn("volumes are not trimmed", "err", err)
		}
		total := int64(0)
		for _, v := range list {
			freed, err := volumes.Trim(ctx, v.Name)
			total += freed
			if err != nil && !errors.Is(err, volume.ErrNotFound) && ctx.Err() == nil {
				log.Warn("a volume is not trimmed", "volume", v.Name, "err", err)
			}
			if !pause(ctx, trimPause) {
				return nil
			}
		}
		log.Info("volumes trimmed", "volumes", len(list), "bytes", total)
	}
	return nil
}

// pause tells whether ctx lasted so long.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
