package pi

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Loaded is what the firmware has fetched and hands to the kernel.
type Loaded struct {
	Board Board
	// Kernel, Initramfs and DeviceTree are the files as they were served. Initramfs
	// is nil if config.txt wants none or none is there.
	Kernel, Initramfs, DeviceTree []byte
	// Cmdline is the first line of cmdline.txt as it was served: the firmware's
	// own additions, and the meaning of serial0, are up to who starts the kernel.
	Cmdline string
}

// Boot is what follows the firmware when it is not the simulated kernel: it
// starts what was loaded, and returns when that has come to an end. ctx ends when
// the power goes, and Boot must then end at once.
//
// The NIC is idle and has no address while Boot runs; Boot may use what is under
// it. An error that wraps [ErrReset] means that the software has restarted the
// board: the boot ROM begins again. After any other end, nil included, nothing
// more happens until a power cycle.
type Boot func(context.Context, Loaded) error

// ErrReset means that a board starts again by itself.
var ErrReset = errors.New("reset")

var (
	errHalted = errors.New("halted")
	errMemory = errors.New("boot files are larger than the board's memory")
)

// maxLoaded bounds the files that are kept, in octets. Real ones have about 40
// MiB together.
const maxLoaded = 256 << 20

// handOver lets the caller's Boot do what follows the firmware.
func (b *boot) handOver(l Loaded) error {
	b.setState(StageKernel, "")
	b.reset()
	if err := b.cfg.Boot(b.ctx, l); err != nil {
		return err
	}
	return errHalted
}

// kept are the contents of files, by name without prefix.
type kept struct {
	files map[string][]byte
	total int
}

// wants reports whether the file is one that Boot gets.
func (w *walker) wants(name string) bool {
	if w.cfg.Boot == nil {
		return false
	}
	return w.isKernel(name) || w.isInitramfs(name) || strings.HasSuffix(name, ".dtb") && !strings.Contains(name, "/")
}

// keeper is where the content of one file goes.
type keeper struct {
	*kept
	name string
}

func (k keeper) Write(p []byte) (int, error) {
	if k.total += len(p); k.total > maxLoaded {
		return 0, fmt.Errorf("%w: %w", errStopped, errMemory)
	}
	k.files[k.name] = append(k.files[k.name], p...)
	return len(p), nil
}

// keep forgets what an earlier transfer of the file has brought.
func (k *kept) keep(name string) keeper {
	k.total -= len(k.files[name])
	k.files[name] = nil
	return keeper{k, name}
}

// handed is what the kernel gets.
func (w *walker) handed() Loaded {
	first, _, _ := strings.Cut(w.cmdline, "\n")
	l := Loaded{Board: w.cfg.Board, Cmdline: strings.TrimSpace(first)}
	for name, b := range w.kept.files {
		switch {
		case !w.have[name]:
		case w.isKernel(name):
			l.Kernel = b
		case !w.isInitramfs(name):
			l.DeviceTree = b
		case len(w.config.initramfs) == 0:
			l.Initramfs = b
		}
	}
	for _, name := range w.config.initramfs {
		if w.have[name] {
			l.Initramfs = append(l.Initramfs, w.kept.files[name]...)
		}
	}
	return l
}
