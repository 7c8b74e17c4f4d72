package engine

import (
	"cmp"
	"fmt"
	"time"
)

// space is what is known of the room that the roots take.
type space struct {
	seen SpaceSeen // without Volumes
	at   time.Time // zero = never looked at
	use  map[string]volumeUse
}

type volumeUse struct {
	VolumeUse
	at time.Time
}

// seeSpace takes a look at the volumes. One that told nothing leaves what was
// known, with its age.
func (r *rack) seeSpace(at time.Time, s *SpaceSeen) {
	r.dirty = true
	was := r.space.seen
	if s.Err != "" && s.Err != was.Err {
		r.logf(SystemActor().Name, "", 0, "the use of the disk cannot be told: %s", s.Err)
	}
	if s.Err != "" && s.Driver == "" {
		r.space.seen.Err = printable(s.Err)
		return
	}
	r.space.seen, r.space.at = *s, at
	r.space.seen.Volumes, r.space.seen.Err = nil, printable(s.Err)
	for name, use := range s.Volumes {
		if _, ok := r.volumes[name]; ok {
			r.space.use[name] = volumeUse{use, at}
		}
	}
	r.poolFilled(was.Pool.NearlyFull, s.Pool.NearlyFull)
}

// poolFilled reports that the pool came to be nearly full, or has room again:
// then the Pis that waited for it get their first root.
func (r *rack) poolFilled(was, now bool) {
	switch {
	case now && !was:
		r.logf(SystemActor().Name, "", 0, "%s", r.noRoom())
	case was && !now:
		r.logf(SystemActor().Name, "", 0, "the volume pool has room again")
		for _, p := range r.order {
			r.deployIfBare(p, verbDeploy)
		}
	}
}

// noRoom says why no new root can be made now, "" = it can.
func (r *rack) noRoom() string {
	if !r.space.seen.Pool.NearlyFull {
		return ""
	}
	return fmt.Sprintf("the volume pool is %d %% full: no new roots are made", r.space.seen.Pool.percent())
}

// percent is the fuller of the pool's two parts.
func (p PoolReading) percent() int {
	part := p.Metadata
	if p.Size > 0 {
		part = max(part, float64(p.Used)/float64(p.Size))
	}
	return int(part * 100)
}

func (r *rack) viewVolume(name string) VolumeView {
	v, ok := r.volumes[name]
	if !ok {
		return VolumeView{}
	}
	use := r.space.use[name]
	use.Size = cmp.Or(use.Size, v.Size)
	return VolumeView{Created: v.Created, Changed: v.Changed, HostKeys: v.HostKeys, Use: use.VolumeUse, UseAt: use.at}
}

// The sizes that a root may be given: less is no room for a system, more is
// nothing that ext4 with blocks of 4 KiB can hold.
const (
	smallestRoot = 16 << 20
	largestRoot  = 16 << 40
)

// checkSize says why a Pi's root cannot be grown to a size.
func (r *rack) checkSize(p *piState, size int64) error {
	v := r.volumes[p.Volume]
	has := max(v.Size, r.space.use[p.Volume].Size)
	known := !r.space.at.IsZero()
	switch pool := r.space.seen.Pool.Size; {
	case known && !r.space.seen.Quota:
		return fmt.Errorf("%w: volumes of the driver %q have no size", ErrNotNow, r.space.seen.Driver)
	case size < smallestRoot || size > largestRoot:
		return fmt.Errorf("%w: a root of %d bytes: want %d to %d", ErrNotNow, size, smallestRoot, largestRoot)
	case size < has:
		return fmt.Errorf("%w: its root holds %d bytes already, and cannot shrink to %d", ErrNotNow, has, size)
	case size == v.Size:
		return fmt.Errorf("%w: its root has that size", ErrNotNow)
	case known && pool > 0 && size > pool:
		return fmt.Errorf("%w: the whole pool holds only %d bytes", ErrNotNow, pool)
	}
	return nil
}
