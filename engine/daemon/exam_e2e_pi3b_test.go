//go:build e2e && e2epi

package daemon_test

import "testing"

// TestRealExaminationPi3B is TestRealExamination with the processor, the kernel and
// the devices of a Raspberry Pi.
func TestRealExaminationPi3B(t *testing.T) { testRealExamination(t, &e2ePi3B) }
