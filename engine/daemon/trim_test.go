package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"picloud/hw/volume"
)

// trimmed are volumes that take a while to be trimmed.
type trimmed struct {
	volume.Driver
	own   bool
	count map[string]int
}

func (v *trimmed) Features() volume.Features { return volume.Features{OwnFileSystem: v.own} }
func (v *trimmed) List(context.Context) ([]volume.Info, error) {
	return []volume.Info{{Name: "a"}, {Name: "gone"}, {Name: "b"}}, nil
}

func (v *trimmed) Trim(_ context.Context, name string) (int64, error) {
	if name == "gone" {
		return 0, fmt.Errorf("trim %s: %w", name, volume.ErrNotFound)
	}
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
			if v.count["a"] != step.a || v.count["b"] != step.b {
				t.Errorf("after %s more: %v", step.wait, v.count)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		v.own = false
		if err := trim(t.Context(), v, slog.New(slog.DiscardHandler)); err != nil || v.count["a"] != 2 {
			t.Errorf("%v, %v", v.count, err)
		}
	})
}
