//go:build netns

package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picloud/engine"
	"picloud/engine/config"
)

// TestPowerCutInMidJobs cuts the power of the file server at moments spread over
// a reimage, a move and a resize, all of it: database, roots and records. What is
// left is what had been written to its disk, and nothing of what was in memory.
// Each time it is started again with Pis that were cut off, too, and wants the
// former root or the new one, whole, and the server in one place.
func TestPowerCutInMidJobs(t *testing.T) {
	m := newMains(t)
	path, _ := crashRack(t, m.config(m.mount("now")))
	c := startChild(t, path)
	defer func() { c.kill() }()
	c.await("both up", settledUp)
	home, away := 0, 1
	first := c.last[home].Root
	marker := filepath.Join(m.at("now"), "volumes", first, "root", "marker")
	writeSynced(t, marker, first)

	var cuts []cut
	do := func(verb string, args string, delays ...time.Duration) {
		for _, delay := range delays {
			pi := c.last[home]
			c.do(strings.TrimSpace(fmt.Sprintf("%s %s %s", verb, pi.Name, args)))
			time.Sleep(delay * time.Millisecond)
			n := cut{name: fmt.Sprintf("%s-%d", verb, len(cuts)), roots: []string{pi.Root}}
			m.cut(n.name)
			c.await(n.name+": done", func(pis []childPi) bool {
				return settledUp(pis) && (verb == "resize" || pis[home].Root != pi.Root || pis[away].Server != "")
			})
			if verb == "move" {
				home, away = away, home
			}
			n.roots = append(n.roots, c.last[home].Root)
			cuts = append(cuts, n)
		}
	}
	do("resize", "1500000000", 3)
	do("move", "", 8, 60, 200, 700)
	do("reimage", "", 5)
	do("undo", "", 40)
	do("reimage", "", 60)
	do("undo", "", 150)
	do("reimage", "", 300)
	do("undo", "", 600)
	c.kill()
	m.unmount("now")
	for _, n := range cuts {
		t.Run(n.name, func(t *testing.T) { m.afterwards(t, n, first) })
	}
}

// cut is a moment at which the power went, and what the server's root was before
// the job and after it.
type cut struct {
	name  string
	roots []string
}

// afterwards starts the service on what a cut has left.
func (m *mains) afterwards(t *testing.T, n cut, first string) {
	state := m.mount(n.name)
	defer m.unmount(n.name)
	path, _ := crashRack(t, m.config(state))
	c := startChild(t, path)
	defer c.kill()
	going := map[string]bool{}
	c.await("both up", func(pis []childPi) bool {
		for _, p := range pis {
			if p.Job != 0 {
				going[p.Step] = true
			}
		}
		return settledUp(pis)
	})
	t.Logf("steps of jobs that went on: %v", going)
	var here []childPi
	for _, p := range c.last {
		if p.Server != "" {
			here = append(here, p)
		}
	}
	if len(here) != 1 {
		t.Fatalf("the server is on %d Pis: %+v", len(here), c.last)
	}
	root := here[0].Root
	if root != n.roots[0] && root != n.roots[1] {
		t.Errorf("its root is %q, want one of %q", root, n.roots)
	}
	host, err := os.ReadFile(filepath.Join(state, "volumes", root, "etc", "hostname"))
	if err != nil || strings.TrimSpace(string(host)) != powerServer {
		t.Errorf("its host name is %q, %v", host, err)
	}
	if root != first && here[0].Former != first {
		t.Errorf("its roots are %q and %q: the first one is lost", root, here[0].Former)
	}
	got, err := os.ReadFile(filepath.Join(state, "volumes", first, "root", "marker"))
	if err != nil || string(got) != first {
		t.Errorf("the first root lost a file: %q, %v", got, err)
	}
}

const powerServer = "shop"

// mains is a disk in a file on a file system that can keep the file as it is at a
// moment, whatever is written to it then.
type mains struct {
	t   *testing.T
	dir string
}

func newMains(t *testing.T) *mains {
	t.Helper()
	m := &mains{t, t.TempDir()}
	mountBtrfs(t, m.file("disks"))
	m.run("btrfs", "subvolume", "create", m.file("disks", "now"))
	disk := m.file("disks", "now", "disk")
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 3<<30)); err != nil {
		t.Fatal(err)
	}
	m.run("mkfs.btrfs", "-q", disk)
	return m
}

// cut keeps the disk as it is.
func (m *mains) cut(name string) {
	m.t.Helper()
	m.run("btrfs", "subvolume", "snapshot", m.file("disks", "now"), m.file("disks", name))
}

func (m *mains) file(parts ...string) string {
	return filepath.Join(append([]string{m.dir}, parts...)...)
}

func (m *mains) at(name string) string { return m.file("at-" + name) }

// mount makes a disk reachable, and returns where. Only one can be at a time:
// they are all the same file system.
func (m *mains) mount(name string) string {
	m.t.Helper()
	at := m.at(name)
	if err := os.MkdirAll(at, 0o700); err != nil {
		m.t.Fatal(err)
	}
	m.run("mount", "-o", "loop", m.file("disks", name, "disk"), at)
	m.t.Cleanup(func() { _ = exec.Command("umount", "-R", at).Run() }) // if the test has ended early
	return at
}

func (m *mains) unmount(name string) {
	m.t.Helper()
	m.run("umount", "-R", m.at(name))
}

func (m *mains) run(args ...string) {
	m.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		m.t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// config puts the state there, with a server on the first Pi.
func (m *mains) config(state string) func(*config.Config) {
	return func(c *config.Config) {
		c.State = state
		c.Volumes.Driver, c.Volumes.DiskGB = "btrfs", 1
		c.Images = []config.Image{{Name: config.BuiltinImage}}
		for i := range c.Segments {
			c.Segments[i].Image = config.BuiltinImage
		}
		c.Servers = []config.Server{{Name: powerServer, Owner: "customer", Pi: engine.PiName(c.Segments[0].Name)}}
	}
}

// writeSynced writes as a Pi does that asks for its data to be kept.
func writeSynced(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(text)
	dir, openErr := os.Open(filepath.Dir(name))
	if openErr != nil {
		t.Fatal(openErr)
	}
	if err := errors.Join(err, f.Sync(), f.Close(), dir.Sync(), dir.Close()); err != nil {
		t.Fatal(err)
	}
}
