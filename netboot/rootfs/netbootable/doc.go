// Package netbootable changes an unpacked root file system of Raspberry Pi OS
// or Debian so that it boots and lives over NFS: Bullseye, Bookworm and Trixie,
// with NetworkManager, dhcpcd, systemd-networkd or ifupdown, with cloud-init or
// without.
//
// What is to be changed is a table of small rules, each of which can be applied
// again without effect. Nothing of the root is run: all is done to its files,
// beneath an [os.Root], never through a link.
//
// The kernel's command line and config.txt are not files of the root: whoever
// serves them makes them from the state of the Pi. [Boot] tells what they need.
package netbootable

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"

	"picloud/netboot/rootfs/internal/edit"
)

// ErrNotRoot means that a folder holds no root file system.
var ErrNotRoot = errors.New("no root file system: it has no folder etc")

// ErrInvalidOption means that an option cannot be used; the error says which.
var ErrInvalidOption = errors.New("invalid option")

// Options say how a root is to be.
type Options struct {
	// Interface carries the root and is never taken down. Empty means eth0.
	Interface string
	// HostKeys makes SSH host keys where there are none: for the root of one
	// server. Otherwise those that are there are deleted, since an image's would
	// be shared by all that are cloned from it.
	HostKeys bool
	// Comment stands behind the host keys, such as the server's name.
	Comment string
}

const defaultInterface = "eth0"

var (
	interfaceForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,14}$`)
	commentForm   = regexp.MustCompile(`^[a-zA-Z0-9@._-]{0,128}$`)
)

// Change is one file that a rule changed.
type Change struct {
	Rule string // its name in the table
	Path string // within the root
	What string // written, removed, masked, linked
}

// Result is what [Apply] did and found out.
type Result struct {
	Layout   Layout
	Changes  []Change
	HostKeys []HostKey // if asked for
	Boot     Boot
	// Warnings tell what this root will lack, in words for people.
	Warnings []string
}

// Apply makes the root in folder top netbootable. A second run changes nothing.
// Errors: [ErrInvalidOption], [ErrNotRoot], ctx's, or what the file system said,
// with the rule's name; the root is then half changed, and Apply can be run
// again.
func Apply(ctx context.Context, top string, o Options) (Result, error) {
	if o.Interface == "" {
		o.Interface = defaultInterface
	}
	if !interfaceForm.MatchString(o.Interface) {
		return Result{}, fmt.Errorf("netbootable: apply to %s: %w: interface %.40q", top, ErrInvalidOption, o.Interface)
	}
	if !commentForm.MatchString(o.Comment) {
		return Result{}, fmt.Errorf("netbootable: apply to %s: %w: comment %.150q", top, ErrInvalidOption, o.Comment)
	}
	root, err := openTop(top)
	if err != nil {
		return Result{}, fmt.Errorf("netbootable: apply: %w", err)
	}
	defer root.Close()
	j := &job{root: root, o: o, dirs: map[string]bool{}}
	j.Layout = inspect(root)
	if err := j.run(ctx); err != nil {
		return Result{}, fmt.Errorf("netbootable: apply to %s: %w", top, err)
	}
	j.Boot = chooseBoot(root, j.Layout)
	j.Warnings = append(j.Warnings, j.Boot.warnings(j.Layout)...)
	return j.Result, nil
}

// Look tells what the kernel's command line and config.txt of the root in folder
// top need, and changes nothing. Whoever is root on the Pi may have installed
// another kernel since [Apply]: a boot folder is right for as long as this has
// not changed. Errors: [ErrNotRoot], or what the file system said.
func Look(top string) (Boot, error) {
	root, err := openTop(top)
	if err != nil {
		return Boot{}, fmt.Errorf("netbootable: look: %w", err)
	}
	defer root.Close()
	return chooseBoot(root, inspect(root)), nil
}

// openTop opens a folder that is a root.
func openTop(top string) (*os.Root, error) {
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	if info, err := root.Lstat("etc"); err != nil || !info.IsDir() {
		return nil, errors.Join(fmt.Errorf("%s: %w", top, ErrNotRoot), root.Close())
	}
	return root, nil
}

// job is one run of [Apply].
type job struct {
	Result
	root *os.Root
	o    Options
	rule string
	dirs map[string]bool // to be flushed
}

func (j *job) run(ctx context.Context) error {
	for _, r := range rules {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !r.applies(j) {
			continue
		}
		j.rule = r.name
		if err := r.do(j); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	for d := range j.dirs {
		if err := edit.Sync(j.root, d); err != nil {
			return err
		}
	}
	return nil
}
