//go:build e2e && e2epi

package virtualpi

import "testing"

// TestRescuePi3B is TestRescue with the processor, the kernel and the devices of a
// Raspberry Pi.
func TestRescuePi3B(t *testing.T) { testRescue(t, &aPi3B) }
