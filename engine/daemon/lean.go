package daemon

import (
	"os"
	"runtime/debug"
)

// leanPercent is how much a service's heap may grow between two collections, in
// parts of a hundred of what is in use. Most of that are the screens of open
// consoles, a megabyte each: with Go's own 100 a rack of 1,000 Pis with 50
// consoles takes 209 MB, with 50 it is 166 MB, and a hundredth of a core more
// (BenchmarkServiceConsoles).
const leanPercent = 50

// LeanMemory has this process take less memory and a little more time. GOGC in
// the environment goes before.
func LeanMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(leanPercent)
	}
}
