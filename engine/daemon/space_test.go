package daemon

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"picloud/engine"
	"picloud/hw/volume"
)

// slowVolumes take a while to tell how much a volume takes.
type slowVolumes struct {
	volume.Driver
	mu     sync.Mutex
	names  []string
	walk   time.Duration
	walked map[string]int
	err    error
}

func (s *slowVolumes) Features() volume.Features { return volume.Features{Copies: true} }
func (s *slowVolumes) Pool(context.Context) (volume.Pool, error) {
	return volume.Pool{Size: 100, Used: 95, NearlyFull: true}, nil
}

func (s *slowVolumes) List(context.Context) ([]volume.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []volume.Info
	for _, n := range s.names {
		list = append(list, volume.Info{Name: n, Size: 10})
	}
	return list, s.err
}

func (s *slowVolumes) Usage(ctx context.Context, name string) (int64, error) {
	select {
	case <-time.After(s.walk):
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.walked[name]++
	return 7, nil
}

// TestSpace: each volume's turn comes, however long the walks take, and no
// longer than a tenth of the time is spent on them.
func TestSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &slowVolumes{names: []string{"a", "b", "c", "d", "e"}, walk: 2 * time.Second, walked: map[string]int{}}
		var last *engine.SpaceSeen
		told := 0
		s := newSpace(v, "folder", func(o engine.Observation) {
			v.mu.Lock()
			defer v.mu.Unlock()
			last, told = o.Space, told+1
		})
		after := func(d time.Duration, check func()) {
			time.Sleep(d)
			synctest.Wait()
			v.mu.Lock()
			defer v.mu.Unlock()
			check()
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.run(ctx) }()

		after(5*time.Second, func() {
			if told != 1 || len(last.Volumes) != 2 || last.Volumes["a"] != (engine.VolumeUse{Size: 10, Used: 7}) ||
				last.Driver != "folder" || !last.Copies || last.Pool != (engine.PoolReading{Size: 100, Used: 95, NearlyFull: true}) || last.Err != "" {
				t.Errorf("told %d times, last %+v", told, last)
			}
		})
		after(65*time.Second, func() {
			if told != 3 || len(v.walked) != 5 || v.walked["a"] != 2 {
				t.Errorf("told %d times, walked %v", told, v.walked)
			}
			v.names = append(v.names, "f")
		})

		// A job that ends has what it made looked at, and nothing else.
		s.follow(&engine.Snapshot{Pis: []engine.PiView{{Job: &engine.JobView{ID: 1}}}})
		s.follow(&engine.Snapshot{Pis: []engine.PiView{{}}})
		after(6*time.Second, func() {
			if told != 4 || v.walked["f"] != 1 || v.walked["b"] != 1 || len(last.Volumes) != 1 {
				t.Errorf("told %d times, walked %v, last %+v", told, v.walked, last)
			}
			v.names, v.err = nil, errors.New("the pool is away")
		})
		after(spaceEvery, func() {
			if last.Err != "the pool is away" {
				t.Errorf("last %+v", last)
			}
		})
		cancel()
		if err := <-done; err != nil || len(s.looked) != 0 {
			t.Errorf("%v, and it remembers %v", err, s.looked)
		}
	})
}
