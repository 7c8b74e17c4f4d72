//go:build e2e && e2epi

package daemon_test

import (
	"testing"

	"picloud/hw/sim/virtualpi"
)

// e2ePi3B is QEMU's own Raspberry Pi 3B with Debian's kernel, from a tarball. A
// 3B waits five seconds for an answer, which it gets after one.
var e2ePi3B = e2eKind{
	board: "3B", pis: 1, model: virtualpi.Pi3B, emulator: "qemu-system-aarch64", from: "qemu-system-arm", speed: 3, patience: 3,
}

// TestRealRootsPi3B does to the root of a Raspberry Pi what TestRealRoots does
// first: it boots it, reimages it, boots again, and brings the first one back.
func TestRealRootsPi3B(t *testing.T) {
	s := newSite(t, &e2ePi3B)
	s.addImage()
	s.serve()
	home := s.pis[0]
	first := s.first(home)
	s.wants(home, "Raspberry Pi 3 Model B", "tr", "-d", `'\0'`, "<", "/proc/device-tree/model")
	s.reimage(home, first)
	s.undo(home, first)
	s.lap("done")
}
