package webhook

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"picloud/store"
)

// childPath tells the test binary that it is a sender, and of which database;
// childRoots are whom it trusts.
const (
	childPath  = "PICLOUD_WEBHOOK_TEST_CHILD"
	childRoots = "PICLOUD_WEBHOOK_TEST_ROOTS"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if err := sendUntilKilled(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1) // it is killed; coming here is a failure
	}
	os.Exit(m.Run())
}

func sendUntilKilled(path string) error {
	ctx := context.Background()
	s, err := store.Open(ctx, path, store.Options{})
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(os.Getenv(childRoots)))
	never := func() <-chan struct{} { return nil }
	return New(Config{Outbox: s, Noticed: never, Allow: loopback, Roots: roots}).Run(ctx)
}

// TestKilledAtAnyMoment kills the process that sends (SIGKILL) again and again,
// until all has come: each notice once at least, the first time in order.
func TestKilledAtAnyMoment(t *testing.T) {
	const notices = 300
	b := newBox(t)
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
		w.WriteHeader(http.StatusOK)
	})
	srv := r.listen()
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	b.hook("hook", srv.URL)
	b.tell(notices)
	kills := 0
	for len(b.waiting()) > 0 {
		b.close() // it has one owner
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), childPath+"="+b.path, childRoots+"="+string(roots))
		child.Stderr = os.Stderr
		before := len(r.ids())
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for n := before + 1 + rand.IntN(30); len(r.ids()) < n && len(firsts(r.ids())) < notices; {
			select {
			case <-r.more:
			case <-time.After(30 * time.Second):
				t.Fatalf("it sent %d", len(r.ids())-before)
			}
		}
		time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond) // anywhere in a request
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait()
		kills++
		b.open()
	}
	ids := r.ids()
	t.Logf("%d kills, %d notices sent %d times", kills, notices, len(ids))
	if diff := cmp.Diff(numbers(notices), firsts(ids)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if kills < 3 || len(ids) > notices+kills {
		t.Errorf("%d kills, sent %d times: more than once more for each kill", kills, len(ids))
	}
}
