// Package engine owns the rack: its nouns (switch, port, Pi, server, volume,
// image, job), the rules that turn evidence into a boot stage and a cause, the
// verbs people and programs act with, and the jobs that carry them out.
//
// One goroutine, Run, holds all state. Verbs and observations come in by
// channels and queues; a Snapshot, a BootTable and rows in the Inventory go
// out. Nothing a viewer, a packet or a switch does can block that goroutine,
// and it imports none of the packages that do the work: main wires them to
// the small interfaces in ports.go.
package engine
