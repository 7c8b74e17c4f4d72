package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"picloud/hw/volume"
)

// trimmed are volumes that take a while to be trimmed.
type trimmed struct {
	volume.Driver
	own   bool
	mu    sync.Mutex
	count map[string]int
}

func (v *trimmed) times(name string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.count[name]
}

func (v *trimmed) Features() volume.Features { return volume.Features{OwnFileSystem: v.own} }
func (v *trimmed) List(context.Context) ([]volume.Info, error) {
	return []volume.Info{{Name: "a"}, {Name: "gone"}, {Name: "b"}}, nil
}

func (v *trimmed) Trim(_ context.Context, name string) (int64, error) {
	if name == "gone" {
		return 0, fmt.Errorf("trim %s: %w", name, volume.ErrNotFound)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.count[name]++
	return 1, nil
}

func TestTrim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &trimmed{own: true, count: map[string]int{}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- trim(ctx, v, slog.New(slog.DiscardHandler)) }()
		for _, step := range []struct {
			wait time.Duration
			a, b int
		}{{trimFirst - time.Second, 0, 0}, {2 * time.Second, 1, 0}, {time.Minute, 1, 1}, {trimEvery, 2, 2}} {
			time.Sleep(step.wait)
			synctest.Wait()
			if a, b := v.times("a"), v.times("b"); a != step.a || b != step.b {
				t.Errorf("after %s more: a %d times, b %d times", step.wait, a, b)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		v.own = false
		if err := trim(t.Context(), v, slog.New(slog.DiscardHandler)); err != nil || v.times("a") != 2 {
			t.Errorf("%v", err)
		}
	})
}
