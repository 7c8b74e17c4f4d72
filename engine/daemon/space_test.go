package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"picloud/engine"
	"picloud/hw/volume"
)

// slowVolumes take a while to tell how much a volume takes.
type slowVolumes struct {
	volume.Driver
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
		s := newSpace(v, "folder", func(o engine.Observation) { last, told = o.Space, told+1 })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.run(ctx) }()

		time.Sleep(5 * time.Second)
		synctest.Wait()
		if told != 1 || len(last.Volumes) != 2 || last.Volumes["a"] != (engine.VolumeUse{Size: 10, Used: 7}) ||
			last.Driver != "folder" || !last.Copies || last.Pool != (engine.PoolReading{Size: 100, Used: 95, NearlyFull: true}) || last.Err != "" {
			t.Errorf("told %d times, last %+v", told, last)
		}
		time.Sleep(65 * time.Second)
		synctest.Wait()
		if told != 3 || len(v.walked) != 5 || v.walked["a"] != 2 {
			t.Errorf("told %d times, walked %v", told, v.walked)
		}

		// A job that ends has what it made looked at, and nothing else.
		s.follow(&engine.Snapshot{Pis: []engine.PiView{{Job: &engine.JobView{ID: 1}}}})
		v.names = append(v.names, "f")
		s.follow(&engine.Snapshot{Pis: []engine.PiView{{}}})
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if told != 4 || v.walked["f"] != 1 || v.walked["b"] != 1 || len(last.Volumes) != 1 {
			t.Errorf("told %d times, walked %v, last %+v", told, v.walked, last)
		}

		v.err = errors.New("the pool is away")
		v.names = nil
		time.Sleep(spaceEvery)
		synctest.Wait()
		if last.Err != "the pool is away" || len(s.looked) != 0 {
			t.Errorf("last %+v", last)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
