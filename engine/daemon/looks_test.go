package daemon

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"picloud/netboot/rootfs/netbootable"
)

// TestLooks: a root that cannot be looked at in time keeps nobody else waiting,
// and its own Pi no longer than once the limit.
func TestLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looked atomic.Int32
		release := make(chan struct{})
		l := looks{look: func(dir string) (netbootable.Boot, error) {
			looked.Add(1)
			if dir == "slow" {
				<-release
			}
			return netbootable.Boot{Kernel: dir}, nil
		}}
		want := func(dir string, kernel string, err error, wait time.Duration) {
			t.Helper()
			began := time.Now()
			boot, got := l.at(dir, dir)
			if boot.Kernel != kernel || !errors.Is(got, err) || time.Since(began) != wait {
				t.Errorf("%s: %q, %v after %v; want %q, %v after %v", dir, boot.Kernel, got, time.Since(began), kernel, err, wait)
			}
		}
		waiting := make(chan struct{})
		go func() {
			want("slow", "", errSlowLook, lookWithin)
			close(waiting)
		}()
		synctest.Wait()
		want("quick", "quick", nil, 0)
		<-waiting
		want("slow", "", errSlowLook, 0)
		if n := looked.Load(); n != 2 {
			t.Errorf("looked %d times at two roots", n)
		}
		close(release)
		synctest.Wait()
		want("slow", "slow", nil, 0)
		time.Sleep(lookFor)
		want("slow", "slow", nil, 0)
		if n := looked.Load(); n != 3 {
			t.Errorf("looked %d times, want once more after %v", n, lookFor)
		}
	})
}

// TestLooksKeepsFailures: a root that cannot be looked at is not looked at for
// each file that its Pi asks for.
func TestLooksKeepsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := errors.New("damaged")
		looked := 0
		l := looks{look: func(string) (netbootable.Boot, error) {
			looked++
			return netbootable.Boot{}, failed
		}}
		for range 30 {
			if _, err := l.at("a", "a"); !errors.Is(err, failed) {
				t.Error(err)
			}
		}
		if looked != 1 {
			t.Errorf("looked %d times", looked)
		}
		l.forget("a")
		if _, _ = l.at("a", "a"); looked != 2 {
			t.Errorf("looked %d times after it was forgotten, want 2", looked)
		}
	})
}
