package volumetest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picloud/hw/volume"
)

// syncDir has the file system put on the disk, and count, what was written.
func syncDir(t *testing.T, dir string) {
	t.Helper()
	d, err := os.Open(dir)
	check(t, err)
	defer d.Close()
	check(t, unix.Syncfs(int(d.Fd())))
}

func write(t *testing.T, dir, content string) {
	t.Helper()
	check(t, os.WriteFile(filepath.Join(dir, "etc/hostname"), []byte(content), 0o644))
}

func wantContent(t *testing.T, dir, want string) {
	t.Helper()
	if got, err := os.ReadFile(filepath.Join(dir, "etc/hostname")); err != nil || string(got) != want {
		t.Errorf("content %q, %v, want %q", got, err, want)
	}
}

func namesOf(list []volume.Info, err error) string {
	if err != nil {
		return err.Error()
	}
	var names []string
	for _, i := range list {
		names = append(names, i.Name)
	}
	return strings.Join(names, " ")
}

func importWholeOrNotAtAll(t *testing.T, f Fixture) {
	why := errors.New("disk on fire")
	for range 2 {
		err := f.Import(t.Context(), "demo", f.ImageSize, func(_ context.Context, dir string) error {
			check(t, os.WriteFile(filepath.Join(dir, "half"), big(), 0o644))
			return why
		})
		if !errors.Is(err, why) {
			t.Fatalf("err %v", err)
		}
		if got := namesOf(f.Images(t.Context())); got != "" {
			t.Errorf("images %s", got)
		}
	}
	if err := f.Clone(t.Context(), "demo", "a", nil); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("clone: %v", err)
	}
	f.image(t)
	check(t, f.Import(t.Context(), "demo", f.ImageSize, func(context.Context, string) error {
		t.Error("imported again")
		return nil
	}))
	if got := namesOf(f.Images(t.Context())); got != "demo" {
		t.Errorf("images %s", got)
	}
	dir := f.clone(t, "a")
	if _, err := os.Lstat(filepath.Join(dir, "half")); err == nil {
		t.Error("an import that failed has left its files")
	}
}

func removeImage(t *testing.T, f Fixture) {
	f.image(t)
	dir := f.clone(t, "a")
	for range 2 {
		check(t, f.RemoveImage(t.Context(), "demo"))
	}
	if got := namesOf(f.Images(t.Context())); got != "" {
		t.Errorf("images %s", got)
	}
	wantContent(t, dir, "image\n")
	if err := f.Clone(t.Context(), "demo", "b", nil); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("clone: %v", err)
	}
	f.image(t)
	f.clone(t, "b")
}

// fillUp writes until the volume takes no more, and returns how much that was.
func fillUp(t *testing.T, dir string, most int64) int64 {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(dir, "fill"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	check(t, err)
	defer file.Close()
	chunk := bytes.Repeat([]byte("picloud!"), 1<<17) // does not compress to nothing
	done := int64(0)
	for done < most {
		n, err := file.Write(chunk)
		done += int64(n)
		if err == nil {
			err = file.Sync() // some file systems notice only when they allocate
		}
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return done
		}
		check(t, err)
	}
	return done
}

const sizeStep = 64 << 20

// size: a volume cannot outgrow its size, and can be given more while it is in use.
func size(t *testing.T, f Fixture) {
	f.image(t)
	dir := f.clone(t, "a")
	if err := f.Grow(t.Context(), "none", 1<<40); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("unknown volume: %v", err)
	}
	for _, bad := range []int64{0, -1} {
		if err := f.Grow(t.Context(), "a", bad); !errors.Is(err, volume.ErrInvalidSize) {
			t.Errorf("size %d: %v", bad, err)
		}
	}
	if !f.Features().Quota {
		if err := f.Grow(t.Context(), "a", 1<<40); !errors.Is(err, volume.ErrNotSupported) {
			t.Errorf("err %v", err)
		}
		return
	}
	first := f.ImageSize + sizeStep
	for range 2 {
		check(t, f.Grow(t.Context(), "a", first))
	}
	if got := f.info(t, "a").Size; got < first || got > first+sizeStep/2 {
		t.Errorf("size %d after growing to %d", got, first)
	}
	if err := f.Grow(t.Context(), "a", first/2); !errors.Is(err, volume.ErrInvalidSize) {
		t.Errorf("shrunk: %v", err)
	}
	const slack = 24 << 20 // for the file system's own
	held := fillUp(t, dir, first+sizeStep)
	if held > first || held < first-bigSize-slack {
		t.Errorf("a volume of %d held %d", first, held)
	}
	other := f.clone(t, "b")
	check(t, os.WriteFile(filepath.Join(other, "mine"), big(), 0o644))
	syncDir(t, other)

	check(t, f.Grow(t.Context(), "a", first+sizeStep))
	if more := fillUp(t, dir, 2*sizeStep); more < sizeStep-slack || more > sizeStep+slack {
		t.Errorf("grew by %d for %d", more, sizeStep)
	}
	wantContent(t, dir, "image\n")
}

func (f Fixture) info(t *testing.T, name string) volume.Info {
	t.Helper()
	list, err := f.List(t.Context())
	check(t, err)
	i := slices.IndexFunc(list, func(v volume.Info) bool { return v.Name == name })
	if i < 0 {
		t.Fatalf("volume %s is not in %v", name, list)
	}
	return list[i]
}

func snapshotAndRollback(t *testing.T, f Fixture) {
	f.image(t)
	dir := f.clone(t, "a")
	size := f.info(t, "a").Size
	write(t, dir, "one\n")
	begin := time.Now().Add(-time.Minute)
	for range 2 {
		check(t, f.Snapshot(t.Context(), "a", "s1"))
		write(t, dir, "two\n") // the second Snapshot changes nothing
	}
	check(t, f.Snapshot(t.Context(), "a", "s2"))
	write(t, dir, "three\n")
	for _, step := range []struct{ snapshot, want string }{
		{"s1", "one\n"}, {"s2", "two\n"}, {"s1", "one\n"}, {"s1", "one\n"},
	} {
		check(t, f.Rollback(t.Context(), "a", step.snapshot))
		if got := f.path(t, "a"); got != dir {
			t.Errorf("path was %s and is %s", dir, got)
		}
		wantContent(t, dir, step.want)
		write(t, dir, "changed\n")
	}
	check(t, os.WriteFile(filepath.Join(dir, "new"), nil, 0o644))
	keepsInodes(t, dir)
	if got := f.info(t, "a").Size; got != size {
		t.Errorf("size was %d and is %d", size, got)
	}
	list, err := f.Snapshots(t.Context(), "a")
	check(t, err)
	if got := namesOf(list, nil); got != "s1 s2" {
		t.Errorf("snapshots %s", got)
	}
	for _, s := range list {
		if s.Created.Before(begin) || s.Created.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s was made at %v", s.Name, s.Created)
		}
	}
	for range 2 {
		check(t, f.RemoveSnapshot(t.Context(), "a", "s1"))
	}
	if err := f.Rollback(t.Context(), "a", "s1"); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("to a snapshot that is gone: %v", err)
	}
	wantContent(t, dir, "changed\n")
	check(t, f.Rollback(t.Context(), "a", "s2"))
	wantContent(t, dir, "two\n")
}

// snapshotNames: volumes' and snapshots' names do not run into each other.
func snapshotNames(t *testing.T, f Fixture) {
	f.image(t)
	longest := strings.Repeat("a", volume.MaxName)
	volumes := []string{"a", "a-b", "a.b", longest}
	for _, v := range volumes {
		dir := f.clone(t, v)
		for _, s := range []string{"b", "b-c", longest} {
			write(t, dir, v+s)
			check(t, f.Snapshot(t.Context(), v, s))
		}
	}
	check(t, f.RemoveSnapshot(t.Context(), "a", "b"))
	check(t, f.Remove(t.Context(), "a.b"))
	for v, want := range map[string]string{"a": longest + " b-c", "a-b": longest + " b b-c", "a.b": "", longest: longest + " b b-c", "none": ""} {
		if got := namesOf(f.Snapshots(t.Context(), v)); got != want {
			t.Errorf("snapshots of %.10s: %s", v, got)
		}
	}
	check(t, f.Rollback(t.Context(), "a-b", "b"))
	wantContent(t, f.path(t, "a-b"), "a-bb")
	for what, err := range map[string]error{
		"snapshot": f.Snapshot(t.Context(), "none", "s"), "rollback": f.Rollback(t.Context(), "none", "s"), "wipe": f.Wipe(t.Context(), "none"),
	} {
		if !errors.Is(err, volume.ErrNotFound) {
			t.Errorf("%s of no volume: %v", what, err)
		}
	}
	check(t, f.RemoveSnapshot(t.Context(), "none", "s"))
}

// removeTakesSnapshots: the next customer with the same volume name must not
// find the snapshots of the last.
func removeTakesSnapshots(t *testing.T, f Fixture) {
	f.image(t)
	f.clone(t, "a")
	check(t, f.Snapshot(t.Context(), "a", "s"))
	check(t, f.Remove(t.Context(), "a"))
	f.clone(t, "a")
	if got := namesOf(f.Snapshots(t.Context(), "a")); got != "" {
		t.Errorf("snapshots %s", got)
	}
	if err := f.Rollback(t.Context(), "a", "s"); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("err %v", err)
	}
}

func wipe(t *testing.T, f Fixture) {
	f.image(t)
	dir := f.clone(t, "a")
	size := f.info(t, "a").Size
	check(t, f.Snapshot(t.Context(), "a", "s"))
	check(t, f.Wipe(t.Context(), "a"))
	check(t, f.Wipe(t.Context(), "a"))
	if got := f.path(t, "a"); got != dir {
		t.Errorf("path was %s and is %s", dir, got)
	}
	entries, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range entries {
		if e.Name() != "lost+found" {
			t.Errorf("left %s", e.Name())
		}
	}
	if got := f.info(t, "a").Size; got != size {
		t.Errorf("size was %d and is %d", size, got)
	}
	check(t, os.WriteFile(filepath.Join(dir, "new"), []byte("x"), 0o644))
	check(t, f.Rollback(t.Context(), "a", "s"))
	wantContent(t, dir, "image\n")
}

func trim(t *testing.T, f Fixture) {
	f.image(t)
	dir := f.clone(t, "a")
	name := filepath.Join(dir, "big")
	check(t, os.WriteFile(name, big(), 0o644))
	syncDir(t, dir)
	check(t, os.Remove(name))
	syncDir(t, dir)
	freed, err := f.Trim(t.Context(), "a")
	if err != nil || freed < 0 {
		t.Errorf("freed %d, %v", freed, err)
	}
	wantContent(t, dir, "image\n")
	if _, err := f.Trim(t.Context(), "none"); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("unknown volume: %v", err)
	}
}

// nearlyFull: what needs room is refused, what is there works, and what gives
// room back works.
func nearlyFull(t *testing.T, f Fixture) {
	f.image(t)
	dir := f.clone(t, "a")
	check(t, f.Snapshot(t.Context(), "a", "s"))
	before, err := f.Pool(t.Context())
	check(t, err)
	if before.NearlyFull || before.Used <= 0 || before.Used >= before.Size || before.Metadata < 0 || before.Metadata > 1 {
		t.Errorf("pool %+v", before)
	}
	d := f.NearlyFull(t)
	if p, err := d.Pool(t.Context()); err != nil || !p.NearlyFull {
		t.Errorf("pool %+v, %v", p, err)
	}
	refused := map[string]error{
		"clone": d.Clone(t.Context(), "demo", "b", nil), "snapshot": d.Snapshot(t.Context(), "a", "s2"),
		"import": d.Import(t.Context(), "two", f.ImageSize, func(context.Context, string) error { return nil }),
	}
	if d.Features().Quota {
		refused["grow"] = d.Grow(t.Context(), "a", 2*f.ImageSize)
	}
	for what, err := range refused {
		if !errors.Is(err, volume.ErrPoolNearlyFull) {
			t.Errorf("%s: %v", what, err)
		}
	}
	write(t, dir, "still running\n")
	for what, err := range map[string]error{
		"clone again": d.Clone(t.Context(), "demo", "a", nil), "snapshot again": d.Snapshot(t.Context(), "a", "s"),
		"import again": d.Import(t.Context(), "demo", f.ImageSize, nil),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	check(t, d.Rollback(t.Context(), "a", "s"))
	wantContent(t, dir, "image\n")
	check(t, d.RemoveSnapshot(t.Context(), "a", "s"))
	check(t, d.Remove(t.Context(), "a"))
	check(t, d.RemoveImage(t.Context(), "demo"))
}

func recoverKeepsAll(t *testing.T, f Fixture) {
	f.image(t)
	dir := f.clone(t, "a")
	check(t, f.Snapshot(t.Context(), "a", "s"))
	write(t, dir, "mine\n")
	for range 2 {
		check(t, f.Recover(t.Context()))
	}
	wantContent(t, dir, "mine\n")
	if got := namesOf(f.Images(t.Context())) + " " + namesOf(f.List(t.Context())) + " " + namesOf(f.Snapshots(t.Context(), "a")); got != "demo a s" {
		t.Errorf("there are %s", got)
	}
}

// recoverBesideImport: the service starts again while somebody adds an image by
// another process.
func recoverBesideImport(t *testing.T, f Fixture) {
	service := f.NearlyFull(t) // of the same volumes
	check(t, f.Import(t.Context(), "demo", f.ImageSize, func(ctx context.Context, dir string) error {
		first := os.WriteFile(filepath.Join(dir, "one"), []byte("image"), 0o644)
		if err := service.Recover(ctx); err != nil {
			t.Errorf("recover: %v", err)
		}
		if list, err := service.Images(ctx); err != nil || len(list) != 0 {
			t.Errorf("images %v, %v", list, err)
		}
		return errors.Join(first, os.WriteFile(filepath.Join(dir, "two"), []byte("image"), 0o644))
	}))
	check(t, service.Recover(t.Context()))
	dir := f.clone(t, "a")
	for _, name := range []string{"one", "two"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != "image" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
