package daemon

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"picloud/engine"
	"picloud/hw/volume"
)

// How the room that roots take is looked at. Telling that of a folder means to
// walk its tree, which takes the disk's time from the Pis: so it is done one at
// a time, for a tenth of the time at most, but for one volume each time.
const (
	spaceEvery  = 30 * time.Second
	spaceBudget = spaceEvery / 10
	spaceSoon   = 2 * time.Second // after a job
	longestWalk = 2 * time.Minute // of one volume; then its figure stays as it is
)

// space observes the room that the volumes take.
type space struct {
	volumes volume.Driver
	name    string // volumes.driver
	observe func(engine.Observation)
	soon    chan struct{} // holds one
	now     func() time.Time

	looked map[string]time.Time // when a volume was looked at
	jobs   map[int64]bool       // not ended, of the last snapshot
}

func newSpace(volumes volume.Driver, name string, observe func(engine.Observation)) *space {
	return &space{
		volumes: volumes, name: name, observe: observe, soon: make(chan struct{}, 1), now: time.Now,
		looked: map[string]time.Time{}, jobs: map[int64]bool{},
	}
}

// follow has the room looked at soon after a job has ended.
func (s *space) follow(snapshot *engine.Snapshot) {
	jobs := map[int64]bool{}
	for i := range snapshot.Pis {
		if j := snapshot.Pis[i].Job; j != nil {
			jobs[j.ID] = true
		}
	}
	for id := range s.jobs {
		if !jobs[id] {
			select {
			case s.soon <- struct{}{}:
			default:
			}
			break
		}
	}
	s.jobs = jobs
}

// run looks until ctx ends: at all volumes by and by, and soon after a job at
// those that it made.
func (s *space) run(ctx context.Context) error {
	all := time.NewTicker(spaceEvery)
	defer all.Stop()
	for fresh := false; ; {
		s.look(ctx, fresh)
		select {
		case <-all.C:
			fresh = false
		case <-s.soon:
			fresh = true
			// Jobs end together: a moment later more will have.
			select {
			case <-time.After(spaceSoon):
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// look tells what is known at once, and then of as many volumes as there is
// time for, those first that were never looked at, and then, unless only fresh
// ones are wanted, the oldest figures.
func (s *space) look(ctx context.Context, fresh bool) {
	f := s.volumes.Features()
	seen := engine.SpaceSeen{Driver: s.name, Copies: f.Copies, Quota: f.Quota, Volumes: map[string]engine.VolumeUse{}}
	pool, err := s.volumes.Pool(ctx)
	seen.Pool = engine.PoolReading{Size: pool.Size, Used: pool.Used, Metadata: pool.Metadata, NearlyFull: pool.NearlyFull}
	list, listErr := s.volumes.List(ctx)
	err = errors.Join(err, listErr, s.uses(ctx, list, fresh, seen.Volumes))
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		seen.Err = err.Error()
	}
	s.observe(engine.Observation{Time: s.now(), Space: &seen})
}

// allUses is a driver that tells the use of all volumes as cheaply as of one.
type allUses interface {
	Usages(ctx context.Context) (map[string]int64, error)
}

func (s *space) uses(ctx context.Context, list []volume.Info, fresh bool, into map[string]engine.VolumeUse) error {
	if all, ok := s.volumes.(allUses); ok {
		used, err := all.Usages(ctx)
		for _, v := range list {
			if n, there := used[v.Name]; there {
				into[v.Name] = engine.VolumeUse{Size: v.Size, Used: n}
			}
		}
		return err
	}
	s.forget(list)
	if fresh {
		list = slices.DeleteFunc(list, func(v volume.Info) bool { _, seen := s.looked[v.Name]; return seen })
	}
	slices.SortStableFunc(list, func(a, b volume.Info) int {
		return cmp.Compare(s.looked[a.Name].UnixNano(), s.looked[b.Name].UnixNano())
	})
	var errs []error
	begin := s.now()
	for i, v := range list {
		if ctx.Err() != nil || i > 0 && s.now().Sub(begin) >= spaceBudget {
			break
		}
		walk, cancel := context.WithTimeout(ctx, longestWalk)
		used, err := s.volumes.Usage(walk, v.Name)
		cancel()
		s.looked[v.Name] = s.now()
		switch {
		case errors.Is(err, volume.ErrNotFound): // removed meanwhile
		case err != nil:
			errs = append(errs, err)
		default:
			into[v.Name] = engine.VolumeUse{Size: v.Size, Used: used}
		}
	}
	return errors.Join(errs...)
}

// forget drops what is known of volumes that are no more.
func (s *space) forget(list []volume.Info) {
	there := make(map[string]bool, len(list))
	for _, v := range list {
		there[v.Name] = true
	}
	for name := range s.looked {
		if !there[name] {
			delete(s.looked, name)
		}
	}
}
