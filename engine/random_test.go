package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// deed is one thing that befalls a rack.
type deed struct {
	what string // a verb, or wait, kill, stop, cut, reload
	pi   int
	to   int // move: -1 = a spare
	ms   int
}

func (d deed) String() string { return fmt.Sprintf("%s t-%03d→%d %d ms", d.what, d.pi, d.to, d.ms) }

func deeds(t *rapid.T) []deed {
	verbs := []string{
		"move", "move", "move", "reimage", "undo", "resize", "rescue", "unrescue", "cancel", "cancel", "broken", "ready", "examine",
		"off", "on", "cycle", "kill", "kill", "stop", "reload", "remove", "remove", "refuse", "allow",
	}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) deed {
		return deed{
			what: rapid.SampledFrom(verbs).Draw(t, "what"), pi: rapid.IntRange(0, 3).Draw(t, "pi"),
			to: rapid.IntRange(-1, 3).Draw(t, "to"), ms: rapid.SampledFrom([]int{0, 30, 150, 700, 3000, 20000}).Draw(t, "ms"),
		}
	}), 1, 12).Draw(t, "deeds")
}

// Whatever people do, and however often the process dies meanwhile: a root has
// one Pi and at most one export, a server is on one Pi, and its root is there.
func TestRandomDeedsKeepServersWhole(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		list := deeds(rt)
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			b := rig(t)
			b.boards = newBoards()
			b.start(twoServers(), nil)
			b.awaitAll(StageUp)
			for _, d := range list {
				b.befall(d)
				time.Sleep(time.Duration(d.ms) * time.Millisecond)
			}
			b.mu.Lock()
			b.refuse = nil
			b.mu.Unlock()
			b.quiet()
			wrong = b.finds()
			b.cancel()
			<-b.done
			synctest.Wait()
		})
		if len(wrong) > 0 {
			rt.Fatalf("%s\nafter %v", strings.Join(wrong, "\n"), list)
		}
	})
}

func twoServers() Layout {
	l := hosted(4)
	l.Servers = append(l.Servers, Server{Name: "db", Owner: "bob"})
	l.Pis[1].Server, l.Pis[1].Life = "db", LifeLive
	return l
}

// befall does one deed; refusals are part of life.
func (b *bench) befall(d deed) {
	pi := PiName(fmt.Sprintf("t-%03d", d.pi))
	switch d.what {
	case "kill", "stop":
		if d.what == "kill" {
			b.failStore(errors.New("killed"))
		}
		b.cancel()
		<-b.done
		synctest.Wait()
		b.failStore(nil)
		b.start(twoServers(), nil)
	case "reload":
		l := twoServers()
		l.Pis[d.pi].Segment.Port.Port += 20 // rewired
		_ = b.e.Relayout(b.t.Context(), l)
		_ = b.e.Relayout(b.t.Context(), twoServers())
	case "remove":
		l := twoServers()
		l.Pis = slices.Delete(l.Pis, d.pi, d.pi+1)
		_ = b.e.Relayout(b.t.Context(), l)
		time.Sleep(time.Duration(d.ms) * time.Millisecond)
		_ = b.e.Relayout(b.t.Context(), twoServers())
	case "refuse", "allow":
		b.mu.Lock()
		b.refuse = nil
		if d.what == "refuse" {
			b.refuse = errors.New("not writable")
		}
		b.mu.Unlock()
	default:
		cmd := Command{
			Verb: VerbName(d.what), Actor: alice, Targets: []Target{b.now(pi)},
			Passed: GuardName, Typed: string(pi), Size: int64(d.ms+1) << 30,
		}
		if d.to >= 0 {
			cmd.To = PiName(fmt.Sprintf("t-%03d", d.to))
		}
		_, _ = b.e.Do(b.t.Context(), cmd)
	}
}

// quiet waits until nothing goes on any more.
func (b *bench) quiet() {
	for range 3000 {
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		busy := slices.ContainsFunc(b.e.Snapshot().Pis, func(p PiView) bool { return p.Job != nil || p.Stage.Booting() })
		if !busy {
			break
		}
	}
	time.Sleep(40 * time.Second) // for what is off to count as stalled
	synctest.Wait()
}

// finds lists all that is not as it must be in a rack at rest.
func (b *bench) finds() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mem.mu.Lock()
	defer b.mem.mu.Unlock()
	wrong := slices.Concat(b.wrong, b.mem.wrong)
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	servers := map[string]int{}
	used := map[string]bool{}
	for _, p := range b.mem.pis {
		servers[p.Server]++
		want := cmp.Or(p.Server, string(p.Name))
		used[p.Volume], used[p.Former] = true, true
		if root, ok := b.roots[p.Volume]; p.Volume != "" && (!ok || root.Hostname != want) {
			say("the root %s of %s is of %q, want %q", p.Volume, p.Name, root.Hostname, want)
		}
		if root, ok := b.roots[p.Former]; p.Former != "" && (!ok || root.Hostname != want) {
			say("the former root %s of %s is of %q, want %q", p.Former, p.Name, root.Hostname, want)
		}
		exported := p.Volume
		if p.Life == LifeBroken {
			exported = ""
		}
		if b.exports[p.Name] != exported {
			say("%s is exported to %s, want %q", b.exports[p.Name], p.Name, exported)
		}
		if p.Exam {
			say("%s is still under examination", p.Name)
		}
		if on := b.on[p.Segment.Port]; p.Power && p.Life != LifeBroken && !on && b.view(p.Name).Stage != StageStalled {
			say("%s should be on and is off, %s", p.Name, b.view(p.Name).Stage)
		}
	}
	if servers["web"] != 1 || servers["db"] != 1 {
		say("servers are on %v Pis", servers)
	}
	for name := range b.roots {
		if !used[name] {
			say("%s is left over: %+v", name, b.mem.volumes[name])
		}
	}
	for _, row := range b.mem.audit {
		if row.Ended.IsZero() {
			say("audit row left open: %+v", row)
		}
	}
	return wrong
}

func (b *bench) view(name PiName) PiView {
	v, _ := b.e.Snapshot().Pi(name)
	return *v
}
