package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"unicode"

	"picloud/engine"
)

// still is a rack that does not move. It counts what it is asked to do.
type still struct {
	engine.Viewer // nil: what is not below is not asked for

	snap *engine.Snapshot
	did  []engine.Command
}

func (s *still) Snapshot() *engine.Snapshot { return s.snap }
func (s *still) Subscribe() (<-chan *engine.Snapshot, func()) {
	return make(chan *engine.Snapshot), func() {}
}
func (s *still) Do(_ context.Context, cmd engine.Command) (engine.Result, error) {
	s.did = append(s.did, cmd)
	return engine.Result{}, nil
}
func (s *still) Guards(name engine.VerbName) engine.Guards {
	v, _ := engine.FindVerb(name)
	return v.Guards
}
func (s *still) Boots(context.Context, engine.PiName, int) ([]engine.Boot, error) { return nil, nil }
func (s *still) Log(context.Context, int64, int) ([]engine.LogLine, error)        { return nil, nil }
func (s *still) Audit(context.Context, int64, int) ([]engine.AuditRow, error)     { return nil, nil }

// FuzzRun gives any words, from any role and terminal. Nothing unconfirmed is
// asked of the engine, nothing is printed that a terminal could act on, and
// the exit status is one of three.
func FuzzRun(f *testing.F) {
	for _, seed := range []string{
		"pi list", "pi show a3-003 --json", "pi cycle @all --yes", "pi reimage a3-001 --confirm a3-001 --image trixie64", "pi cycle a3-001 --dry-run",
		"pi move a3-001 --to a3-005", "pi resize a3-001 --size +5G", "job cancel 1", "audit --since 7d --pi sw1/1-3", "watch --json", "help json",
		"__complete pi cycle --reason", "__complete pi reimage --image=", "__completeNoDesc", "__complete", "completion bash", "-h", "--", "pi -- --yes",
		"pi list -", "pi cycle a3-001 --yes=false", "pi cycle a3-001 --yes=true", "help help", "help pi nothing", "--json=x", "pi\x1b[2J",
	} {
		f.Add(strings.ReplaceAll(seed, " ", "\x00"), "", uint8(1), 80)
		f.Add(strings.ReplaceAll(seed, " ", "\x00"), "y\n", uint8(5), 40)
	}
	snap := testSnapshot(f)
	ended, end := context.WithCancel(context.Background())
	end()
	f.Fuzz(func(t *testing.T, words, typed string, mode uint8, width int) {
		v := &still{snap: snap}
		var out, errs bytes.Buffer
		args := strings.Split(words, "\x00")
		s := Session{
			Actor: engine.Actor{Name: "f", Role: engine.Role(mode % 3)}, Args: args, Stdin: strings.NewReader(typed), Stdout: &out, Stderr: &errs,
			Width: width % 300, TTY: mode&4 != 0, Version: "1",
		}
		if code := Run(ended, v, s); code < exitDone || code > exitUsage {
			t.Errorf("exit %d", code)
		}
		for _, b := range []string{out.String(), errs.String()} {
			for _, r := range b {
				if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
					t.Fatalf("%q prints %q", args, b)
				}
			}
		}
		for _, cmd := range v.did {
			if s.Actor.Role >= engine.RoleOperator {
				checkGuard(t, v, cmd)
			}
		}
	})
}

func checkGuard(t *testing.T, v *still, cmd engine.Command) {
	t.Helper()
	for _, target := range cmd.Targets {
		p, ok := v.snap.Pi(target.Pi)
		if !ok || p.Gen != target.Gen {
			t.Errorf("%s: %s is not what was seen", cmd.Verb, target.Pi)
			continue
		}
		g := v.Guards(cmd.Verb).For(p)
		if cmd.Passed < g.Kind || g.Kind == engine.GuardName && cmd.Typed != engine.GuardText(cmd.Verb, cmd.Targets) {
			t.Errorf("%s %s without its guard %s: passed %s, typed %q", cmd.Verb, target.Pi, g.Kind, cmd.Passed, cmd.Typed)
		}
	}
}
