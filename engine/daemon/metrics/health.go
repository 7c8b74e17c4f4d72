package metrics

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"picloud/engine"
)

// condition is one thing that has to be so.
type condition struct {
	what string
	ok   bool
	says string
}

// stuck is how old the loop's last turn may be. It comes round four times a
// second, and a disk that is busy holds it up for a second or two.
const stuck = 15 * time.Second

// alive is what makes the service worth a restart if it is not so.
func (s *Source) alive(now time.Time) []condition {
	turned := s.Turned()
	if turned.IsZero() {
		return []condition{{"engine", true, "starting"}}
	}
	age := max(0, now.Sub(turned)).Round(time.Millisecond)
	return []condition{{"engine", age < stuck, fmt.Sprintf("its loop came round %v ago", age)}}
}

// ready is what it takes to be of use to a Pi.
func (m *Metrics) ready(s *Source, now time.Time) []condition {
	list := s.alive(now)
	roots := condition{"roots", s.published(), "those in use are exported"}
	if !roots.ok {
		roots.says = "those in use are not exported yet"
	}
	list = append(list, roots)
	if s.NFS != nil {
		served := condition{"nfs", true, "answers"}
		if err := s.NFS(); err != nil {
			served.ok, served.says = false, err.Error()
		}
		list = append(list, served)
	}
	kept := condition{"store", true, "takes what it is given"}
	if err := m.store.takes(); err != nil {
		kept.ok, kept.says = false, "nothing can be stored: "+err.Error()
	}
	return append(list, kept, answering(s.Snapshot().Switches))
}

// answering wants one switch at least to answer.
func answering(list []engine.SwitchView) condition {
	n := 0
	for i := range list {
		if list[i].Err == "" {
			n++
		}
	}
	return condition{"switches", n > 0 || len(list) == 0, fmt.Sprintf("%d of %d answer", n, len(list))}
}

// health answers with a line for each condition, and 503 if one is not met.
type health struct {
	look func(now time.Time) []condition
}

func (h health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	status := http.StatusOK
	var body strings.Builder
	for _, c := range h.look(time.Now()) {
		word := "ok"
		if !c.ok {
			word, status = "not ok", http.StatusServiceUnavailable
		}
		fmt.Fprintf(&body, "%s: %s: %s\n", word, c.what, c.says)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body.String()))
}
