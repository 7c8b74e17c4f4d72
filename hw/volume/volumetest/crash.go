package volumetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"picloud/hw/volume"
)

// crashEnv tells the test binary that it is the process that is to die: the
// operation, the step after which, and the state, parted by commas.
const crashEnv = "PICLOUD_VOLUMETEST_CRASH"

// Crasher opens drivers for [RunCrashes].
type Crasher struct {
	// Setup is called before all else, in the process that does not die. It may
	// be nil.
	Setup func(t *testing.T)
	// State makes fresh, empty state for a driver and returns what Open needs
	// to find it again, from another process. It is called after Setup, once.
	State func(t *testing.T) string
	// Open opens the driver of the state. Between any two changes of the disk
	// the driver calls step, if it is not nil. There is no Close: the test
	// stands for a process that dies.
	Open      func(t *testing.T, state string, step func(string)) volume.Driver
	ImageSize int64
	// Only are the names of the operations to crash; nil means all.
	Only []string
}

// RunCrashes kills a process (SIGKILL) at each step of each operation that
// changes something, and checks that Recover leaves the former state or the
// new one, whole, and that the operation can then be done.
func RunCrashes(t *testing.T, c Crasher) {
	if order := os.Getenv(crashEnv); order != "" {
		c.die(t, order)
		return
	}
	if c.Setup != nil {
		c.Setup(t)
	}
	state := c.State(t)
	d := c.Open(t, state, nil)
	check(t, d.Recover(t.Context()))
	check(t, importDemo(t.Context(), d, c.ImageSize))
	check(t, makeVolume(t.Context(), d, c.ImageSize))
	for _, op := range operations {
		if len(c.Only) > 0 && !slices.Contains(c.Only, op.name) {
			continue
		}
		ok := t.Run(op.name, func(t *testing.T) {
			for step := 1; c.crashOnce(t, state, op, step); step++ {
				if step > 50 {
					t.Fatal("an operation has no more than 50 steps")
				}
			}
		})
		if !ok {
			return // the next one would find another state than it expects
		}
	}
}

// operation is what a process is doing when it dies. The state before it has
// image "demo", and volume "v" with content "new", and its snapshot "s" with
// content "old".
type operation struct {
	name string
	do   act
	// after describes the state as look does.
	after string
	undo  act
}

type act func(ctx context.Context, d volume.Driver, size int64) error

const before = "demo v=new,new s"

var operations = []operation{
	{"Import",
		func(ctx context.Context, d volume.Driver, size int64) error {
			return d.Import(ctx, "two", size, func(_ context.Context, dir string) error { return pair(dir, "two") })
		}, "demo two v=new,new s",
		func(ctx context.Context, d volume.Driver, _ int64) error { return d.RemoveImage(ctx, "two") }},
	{"RemoveImage",
		func(ctx context.Context, d volume.Driver, _ int64) error { return d.RemoveImage(ctx, "demo") },
		"v=new,new s", importDemo},
	{"Clone",
		func(ctx context.Context, d volume.Driver, _ int64) error { return d.Clone(ctx, "demo", "w", nil) },
		"demo v=new,new w=image,image s",
		func(ctx context.Context, d volume.Driver, _ int64) error { return d.Remove(ctx, "w") }},
	{"Snapshot",
		func(ctx context.Context, d volume.Driver, _ int64) error { return d.Snapshot(ctx, "v", "s2") },
		"demo v=new,new s s2",
		func(ctx context.Context, d volume.Driver, _ int64) error { return d.RemoveSnapshot(ctx, "v", "s2") }},
	{"Rollback",
		func(ctx context.Context, d volume.Driver, _ int64) error { return d.Rollback(ctx, "v", "s") },
		"demo v=old,old s", writeNew},
	{"Wipe",
		func(ctx context.Context, d volume.Driver, _ int64) error { return d.Wipe(ctx, "v") },
		"demo v=, s", writeNew},
	{"Grow", growMore, before, nil},
	{"RemoveSnapshot",
		func(ctx context.Context, d volume.Driver, _ int64) error { return d.RemoveSnapshot(ctx, "v", "s") },
		"demo v=new,new", makeVolume},
	{"Remove",
		func(ctx context.Context, d volume.Driver, _ int64) error { return d.Remove(ctx, "v") },
		"demo", makeVolume},
}

func importDemo(ctx context.Context, d volume.Driver, size int64) error {
	return d.Import(ctx, "demo", size, func(_ context.Context, dir string) error { return pair(dir, "image") })
}

// makeVolume makes the volume and its snapshot.
func makeVolume(ctx context.Context, d volume.Driver, size int64) error {
	if err := d.Clone(ctx, "demo", "v", nil); err != nil {
		return err
	}
	dir, err := d.Path("v")
	if err != nil {
		return err
	}
	if err := errors.Join(pair(dir, "old"), d.Snapshot(ctx, "v", "s")); err != nil {
		return err
	}
	return writeNew(ctx, d, size)
}

func writeNew(_ context.Context, d volume.Driver, _ int64) error {
	dir, err := d.Path("v")
	if err != nil {
		return err
	}
	return pair(dir, "new")
}

// growMore gives the volume more than it has.
func growMore(ctx context.Context, d volume.Driver, size int64) error {
	if !d.Features().Quota {
		return nil
	}
	list, err := d.List(ctx)
	if err != nil {
		return err
	}
	for _, v := range list {
		if v.Name == "v" {
			return d.Grow(ctx, "v", v.Size+size)
		}
	}
	return volume.ErrNotFound
}

// pair writes two files, which must always be the same.
func pair(dir, content string) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "one"), []byte(content), 0o644), os.WriteFile(filepath.Join(dir, "two"), []byte(content), 0o644))
}

func (c Crasher) die(t *testing.T, order string) {
	name, rest, _ := strings.Cut(order, ",")
	count, state, _ := strings.Cut(rest, ",")
	last, err := strconv.Atoi(count)
	check(t, err)
	steps := 0
	d := c.Open(t, state, func(string) {
		if steps++; steps == last {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	})
	for _, op := range operations {
		if op.name == name {
			check(t, op.do(t.Context(), d, c.ImageSize))
			return
		}
	}
	t.Fatalf("no operation %q", name)
}

// crashOnce reports whether the operation has that many steps.
func (c Crasher) crashOnce(t *testing.T, state string, op operation, step int) bool {
	t.Helper()
	ctx := t.Context()
	died := kill(t, fmt.Sprintf("%s,%d,%s", op.name, step, state))
	d := c.Open(t, state, nil)
	check(t, d.Recover(ctx))
	got := look(t, d)
	if got != op.after && (!died || got != before) {
		t.Fatalf("after step %d: %s, want %s or %s", step, got, before, op.after)
	}
	if died {
		check(t, op.do(ctx, d, c.ImageSize))
		if got := look(t, d); got != op.after {
			t.Fatalf("done after step %d: %s, want %s", step, got, op.after)
		}
	}
	if op.undo != nil {
		check(t, op.undo(ctx, d, c.ImageSize))
	}
	return died
}

// kill runs this test in a process of its own, which obeys crashEnv, and
// reports whether it died before it was done.
func kill(t *testing.T, order string) bool {
	t.Helper()
	top, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+top+"$")
	cmd.Env = append(os.Environ(), crashEnv+"="+order)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
			return true
		}
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", order, err, out)
	}
	return false
}

// look says all that there is: images, volumes with their content, snapshots
// of v.
func look(t *testing.T, d volume.Driver) string {
	t.Helper()
	var seen []string
	add := func(list []volume.Info, err error) []volume.Info {
		check(t, err)
		return list
	}
	for _, i := range add(d.Images(t.Context())) {
		seen = append(seen, i.Name)
	}
	for _, v := range add(d.List(t.Context())) {
		dir, err := d.Path(v.Name)
		check(t, err)
		one, _ := os.ReadFile(filepath.Join(dir, "one"))
		two, _ := os.ReadFile(filepath.Join(dir, "two"))
		seen = append(seen, fmt.Sprintf("%s=%s,%s", v.Name, one, two))
	}
	for _, s := range add(d.Snapshots(t.Context(), "v")) {
		seen = append(seen, s.Name)
	}
	return strings.Join(seen, " ")
}
