package namelock

import (
	"context"
	"errors"
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
