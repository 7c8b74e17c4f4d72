package store

import (
	"fmt"
	"sync"
	"testing"

	"picloud/engine"
)

// Readers page while a writer saves: each page is of one moment and in order.
func TestReadsDuringSaves(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{KeepBoots: 5, KeepLog: 100})
	save(t, s, turn(1))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	reader := func(read func() error) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := read(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	ctx := t.Context()
	reader(func() error {
		jobs, err := s.Jobs(ctx, 0, 20)
		for i, j := range jobs {
			if len(j.Steps) != stepsPerTurn || j.ID != jobs[0].ID-int64(i) || (j.State == engine.JobRunning) != (i == 0) {
				return fmt.Errorf("job %d of the page is %+v", i, j)
			}
		}
		return err
	})
	reader(func() error {
		boots, err := s.Boots(ctx, "p1", 20)
		if len(boots) > 5 {
			return fmt.Errorf("%d boots", len(boots))
		}
		for _, b := range boots {
			if len(b.Events) != stepsPerTurn {
				return fmt.Errorf("boot %d has %d events", b.ID, len(b.Events))
			}
		}
		return err
	})
	reader(func() error {
		st, err := s.Load(ctx)
		if err == nil && (len(st.Open) != 1 || st.Open[0].ID != st.LastID.Audit || st.Jobs[0].ID != st.LastID.Log) {
			return fmt.Errorf("state is of two moments: %+v", st)
		}
		return err
	})
	reader(func() error {
		lines, err := s.Log(ctx, 0, 30)
		for i, l := range lines {
			if l.ID != lines[0].ID-int64(i) {
				return fmt.Errorf("line %d of the page is %d", i, l.ID)
			}
		}
		return err
	})
	for n := int64(2); n < 100; n++ {
		save(t, s, turn(n))
	}
	close(stop)
	wg.Wait()
}

// A read that is never finished holds up neither Save nor Close.
func TestLongReadHoldsUpNothing(t *testing.T) {
	s := openNew(t, Options{})
	save(t, s, everything())
	tx, err := s.read.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var st engine.State
	if err := load(t.Context(), tx, &st); err != nil {
		t.Fatal(err)
	}
	save(t, s, engine.Changes{Log: []engine.LogLine{{ID: 3, Time: at(3)}}})
	var again engine.State
	if err := load(t.Context(), tx, &again); err != nil || again.LastID != st.LastID {
		t.Errorf("the snapshot moved: %+v, %v", again.LastID, err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if last := loaded(t, s).LastID.Log; last != 3 {
		t.Errorf("last line is %d", last)
	}
}
