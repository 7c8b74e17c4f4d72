package netbootable

import (
	"bytes"
	"errors"
	"io/fs"
	"path"
	"strings"

	"picloud/netboot/rootfs/internal/edit"
)

// maxFile bounds the files that are read and changed.
const maxFile = 256 << 10

func (j *job) changed(p, what string) {
	j.dirs[path.Dir(p)] = true
	j.Changes = append(j.Changes, Change{Rule: j.rule, Path: p, What: what})
}

// write makes p hold content with mode, if it does not already.
func (j *job) write(p string, mode fs.FileMode, content string) error {
	if info, err := j.root.Lstat(p); err == nil && info.Mode() == mode &&
		bytes.Equal(edit.Read(j.root, p, maxFile), []byte(content)) {
		return nil
	}
	if err := edit.Dirs(j.root, path.Dir(p)); err != nil {
		return err
	}
	if err := edit.File(j.root, p, mode, []byte(content)); err != nil {
		return err
	}
	j.changed(p, "written")
	return nil
}

// link makes p a symbolic link to target, if it is not already.
func (j *job) link(p, target, what string) error {
	if got, err := j.root.Readlink(p); err == nil && got == target {
		return nil
	}
	if err := edit.Dirs(j.root, path.Dir(p)); err != nil {
		return err
	}
	if err := edit.Link(j.root, p, target); err != nil {
		return err
	}
	j.changed(p, what)
	return nil
}

// remove deletes p and what is in it, if it is there. A folder above it that is
// a link is left alone: what is behind it is not meant.
func (j *job) remove(p string) error {
	if !j.real(path.Dir(p)) {
		return nil
	}
	if _, err := j.root.Lstat(p); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := j.root.RemoveAll(p); err != nil {
		return err
	}
	j.changed(p, "removed")
	return nil
}

// real tells whether dir and all above it are directories, not links.
func (j *job) real(dir string) bool {
	for ; dir != "."; dir = path.Dir(dir) {
		if info, err := j.root.Lstat(dir); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// has tells whether something is at p, following links within the root. A link
// with an absolute target counts: it means something once the root is booted.
func (j *job) has(p string) bool { return has(j.root, p) }

const units = "etc/systemd/system"

// unitDirs are where packages put units; the second of older releases is the
// first by a link.
var unitDirs = []string{"usr/lib/systemd/system", "lib/systemd/system"}

// unitFile returns the path of a package's unit, "" if there is none.
func (j *job) unitFile(name string) string {
	for _, d := range unitDirs {
		if j.has(path.Join(d, name)) {
			return path.Join(d, name)
		}
	}
	return ""
}

// known tells whether a root has a unit, or the script that one is made from.
func (j *job) known(unit string) bool {
	script := "etc/init.d/" + strings.TrimSuffix(unit, ".service")
	return j.unitFile(unit) != "" || j.has(units+"/"+unit) || j.has(script)
}

// mask keeps a unit from ever being started (systemctl(1), mask), also one that
// is made from a script of System V, and takes it out of what wants it.
func (j *job) mask(unit string) error {
	if !j.known(unit) {
		return nil
	}
	if err := j.unwant(unit); err != nil {
		return err
	}
	script := strings.TrimSuffix(unit, ".service")
	for _, level := range "0123456S" {
		dir := "etc/rc" + string(level) + ".d"
		for _, n := range edit.Names(j.root, dir) {
			if len(n) > 3 && (n[0] == 'S' || n[0] == 'K') && n[3:] == script {
				if err := j.remove(path.Join(dir, n)); err != nil {
					return err
				}
			}
		}
	}
	return j.link(path.Join(units, unit), "/dev/null", "masked")
}

// unwant removes the links by which other units want this one.
func (j *job) unwant(unit string) error {
	for _, d := range edit.Names(j.root, units) {
		if strings.HasSuffix(d, ".wants") || strings.HasSuffix(d, ".requires") {
			if err := j.remove(path.Join(units, d, unit)); err != nil {
				return err
			}
		}
	}
	return nil
}

// enable does what systemctl enable does for a unit of multi-user.target.
func (j *job) enable(unit, file string) error {
	if target, err := j.root.Readlink(path.Join(units, unit)); err == nil && target == "/dev/null" {
		if err := j.remove(path.Join(units, unit)); err != nil {
			return err
		}
	}
	want := path.Join(units, "multi-user.target.wants", unit)
	if _, err := j.root.Readlink(want); err == nil {
		return nil // its spelling is the package's to choose
	}
	return j.link(want, "/"+file, "linked")
}
