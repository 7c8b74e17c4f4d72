package pi

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"picloud/netboot/bootfs/order"
	"picloud/netboot/report"
)

const examToken = "TOKENTOKENTOKENTOKEN"

// reports are what a scripted file server was told.
type reports struct {
	mu     sync.Mutex
	list   []report.Report
	from   string
	refuse int // so many first
}

func (r *reports) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	said, perr := report.Parse(body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse--; r.refuse >= 0 {
		http.Error(w, "not yet", http.StatusForbidden)
		return
	}
	if err != nil || perr != nil || q.Method != http.MethodPost || q.URL.Path != report.Path(examToken) {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	r.from, _, _ = net.SplitHostPort(q.RemoteAddr)
	r.list = append(r.list, said)
	w.WriteHeader(http.StatusNoContent)
}

// last returns the last report, once it is of the end.
func (r *reports) last() (report.Report, int, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == 0 {
		return report.Report{}, 0, false
	}
	said := r.list[len(r.list)-1]
	return said, len(r.list), said.Done
}

// examine serves a Pi the files of an examination.
func (s *server) examine(t *testing.T, f order.Family, prefix string, refuse int) *reports {
	t.Helper()
	s.boot(f, prefix)
	r := &reports{refuse: refuse}
	l, err := net.Listen("tcp4", s.addr.String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: r, ReadTimeout: 5 * time.Second}
	done := make(chan error, 1)
	go func() { done <- web.Serve(l) }()
	t.Cleanup(func() {
		web.Close()
		<-done
	})
	o := report.Order{
		Server: netip.MustParseAddrPort(l.Addr().String()), Address: netip.PrefixFrom(s.pi, 30), Token: examToken, Burn: time.Second,
	}
	s.files[prefix+"config.txt"] = []byte("arm_64bit=1\nauto_initramfs=0\ninitramfs initramfs-exam followkernel\n")
	s.files[prefix+"initramfs-exam"] = []byte("an archive")
	s.files[prefix+"cmdline.txt"] = []byte("console=tty1 rdinit=/init panic=0 " + strings.Join(o.Args(), " ") + "\n")
	return r
}

// A board that is examined tells what it is, and what is wrong with it.
func TestExamination(t *testing.T) {
	for _, tt := range []struct {
		fault string
		fam   order.Family
		flaw  func(report.Report) bool
	}{
		{"", order.Pi3B, nil}, {"", order.Pi3BPlus, nil}, {"", order.Pi4B, nil}, {"", order.Pi5, nil},
		{BadMemory, order.Pi4B, func(r report.Report) bool { return r.Miswritten > 0 }},
		{HalfMemory, order.Pi5, func(r report.Report) bool { return r.MemoryKB < 1024*testBoard(order.Pi5).MemoryMB()/2 }},
		{BadProcessor, order.Pi3B, func(r report.Report) bool { return r.Miscomputed > 0 }},
		{TooHot, order.Pi4B, func(r report.Report) bool { return r.Heat > 85_000 }},
		{UnderVoltage, order.Pi5, func(r report.Report) bool { return r.Throttled&0x10000 != 0 }},
		{PowerHungry, order.Pi4B, nil}, // which the switch tells
	} {
		t.Run(tt.fault+"/"+string(tt.fam), func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.delay = 25 * time.Millisecond
			b := testBoard(tt.fam)
			got := s.examine(t, tt.fam, b.SerialText()+"/", 2)
			port := &meter{}
			cfg := s.config(b, tt.fault)
			cfg.Port = port
			p := start(t, cfg)
			await(t, p, StageExam)
			var said report.Report
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
				var n int
				var done bool
				if said, n, done = got.last(); done && n > 3 {
					break // it is told again and again
				}
				if time.Now().After(end) {
					t.Fatalf("%d reports, %+v; state %+v", n, said, p.State())
				}
			}
			if said.MAC != b.mac6() || uint32(said.Serial) != b.Serial || said.Revision != b.Revision || said.Board != boardNames[tt.fam] ||
				said.Cores != 4 || said.Computed == 0 || said.CheckedMB == 0 || said.Burned != time.Second {
				t.Errorf("%+v of %+v", said, b)
			}
			sound := said.Miswritten == 0 && said.Miscomputed == 0 && said.Heat < 70_000 && said.Throttled == 0 && said.MemoryKB > 1024*b.MemoryMB()*9/10
			if sound != (tt.flaw == nil) || tt.flaw != nil && !tt.flaw(said) {
				t.Errorf("with fault %q: %+v", tt.fault, said)
			}
			bootMW, _ := Draw(tt.fam)
			if link, draw := port.read(); !link || draw < bootMW || (draw > 2*bootMW) != (tt.fault == PowerHungry) {
				t.Errorf("link %t, draws %d mW", link, draw)
			}
			if got.from != s.pi.String() || p.Counters().Mounts != 0 {
				t.Errorf("from %s, counters %+v", got.from, p.Counters())
			}
		})
	}
}

func TestExaminationHangs(t *testing.T) {
	s := newServer(t)
	s.delay = 25 * time.Millisecond
	b := testBoard(order.Pi4B)
	got := s.examine(t, order.Pi4B, b.SerialText()+"/", 0)
	p := start(t, s.config(b, ExamHang))
	await(t, p, StageDead)
	if said, n, done := got.last(); n != 1 || done {
		t.Errorf("%d reports, the last %+v", n, said)
	}
}

// Without its archive the kernel has nothing to run.
func TestExaminationWithoutInitramfs(t *testing.T) {
	s := newServer(t)
	s.delay = 25 * time.Millisecond
	b := testBoard(order.Pi4B)
	got := s.examine(t, order.Pi4B, b.SerialText()+"/", 0)
	s.files[b.SerialText()+"/config.txt"] = []byte("arm_64bit=1\nauto_initramfs=0\n")
	p := start(t, s.config(b, ""))
	await(t, p, StageDead)
	if _, n, _ := got.last(); n != 0 || !strings.Contains(p.State().Detail, "no initramfs") {
		t.Errorf("%d reports, %+v", n, p.State())
	}
}
