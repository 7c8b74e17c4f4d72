package namelock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Locks
		release, err := l.Acquire(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		other, err := l.Acquire(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		other()
		in := false
		go func() {
			again, err := l.Acquire(t.Context(), "a")
			if err != nil {
				t.Error(err)
				return
			}
			in = true
			again()
		}()
		synctest.Wait()
		if in {
			t.Error("two calls have the name")
		}
		release()
		synctest.Wait()
		if !in {
			t.Error("the second call still waits")
		}
		if len(l.busy) != 0 {
			t.Errorf("left %v", l.busy)
		}
	})
}

func TestCancelled(t *testing.T) {
	var l Locks
	release, err := l.Acquire(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := l.Acquire(ctx, "a"); !errors.Is(err, why) {
		t.Errorf("busy: %v", err)
	}
	if _, err := l.Acquire(ctx, "b"); !errors.Is(err, why) {
		t.Errorf("free: %v", err)
	}
}

// TestShared: two processes have each their own Locks, and one folder.
func TestShared(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "locks")
	one, two := Locks{Shared: dir}, Locks{Shared: dir}
	release, err := one.Acquire(t.Context(), "/image")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := two.Try(t.Context(), "/image"); ok || err != nil {
		t.Errorf("both have it: %v, %v", ok, err)
	}
	for _, name := range []string{"image", "/other"} { // a volume, which one process has alone, and another image
		other, ok, err := two.Try(t.Context(), name)
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", name, ok, err)
		}
		other()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*poll)
	defer cancel()
	if _, err := two.Acquire(ctx, "/image"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err %v", err)
	}
	got := make(chan error)
	go func() {
		again, err := two.Acquire(t.Context(), "/image")
		if err == nil {
			again()
		}
		got <- err
	}()
	release()
	if err := <-got; err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestSharedByMany: one at a time, though the file of the lock comes and goes.
func TestSharedByMany(t *testing.T) {
	dir := t.TempDir()
	var in atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			l := Locks{Shared: dir}
			for range 200 {
				release, ok, err := l.Try(t.Context(), "/image")
				if err != nil {
					t.Error(err)
				}
				if !ok {
					continue
				}
				if n := in.Add(1); n != 1 {
					t.Errorf("%d have it", n)
				}
				in.Add(-1)
				release()
			}
		})
	}
	all.Wait()
}
