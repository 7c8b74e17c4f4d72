package door

import (
	"math/rand/v2"
	"sync"
	"time"

	"picloud/engine"
)

// Drawing costs about a millisecond a session. Few sessions draw every snapshot
// when it comes. Many take turns, at 50 once a second each, so that a key does
// not wait until all others have drawn and the rack keeps the processor.
const (
	unpaced = 8 // sessions
	turn    = 20 * time.Millisecond
)

// interval is how long a session waits between two snapshots.
func interval(sessions int) time.Duration {
	if sessions <= unpaced {
		return 0
	}
	return time.Duration(sessions) * turn
}

// Subscribe returns a mailbox with the newest snapshot whose turn it is.
func (v *viewer) Subscribe() (<-chan *engine.Snapshot, func()) {
	feed, cancel := v.Viewer.Subscribe()
	box := engine.NewMailbox[*engine.Snapshot]()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { pace(feed, box, stop, v.c.s.sessions) })
	return box.C(), func() {
		close(stop)
		cancel()
		wg.Wait()
	}
}

// pace hands snapshots on until stop is closed.
func pace(feed <-chan *engine.Snapshot, box engine.Mailbox[*engine.Snapshot], stop <-chan struct{}, sessions func() int) {
	// Sessions that wait equally long keep apart if they begin apart.
	wait := rand.N(interval(sessions()) + 1)
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-stop:
			return
		}
		select {
		case s, ok := <-feed:
			if !ok {
				return
			}
			box.Put(s)
		case <-stop:
			return
		}
		t.Reset(interval(sessions()))
	}
}
