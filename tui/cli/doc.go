// Package cli is picloud for shells and scripts: the console's verbs and views
// as commands, noun first.
//
//	picloud pi list @stalled
//	picloud pi show a3-023
//	picloud pi cycle sw1/1-12 --yes --reason "kernel upgrade" --wait
//	picloud pi reimage a3-0[01-03] --image trixie64 --confirm "reimage 3"
//	picloud job wait 8812
//	picloud audit --since 24h --actor alice
//	picloud watch --json
//	picloud order acme web1 --model 4 --disk 20 --wait
//	picloud server release web1 --confirm web1
//
// A command runs inside the service, for a caller who comes in by SSH or by
// the Unix socket. It sees the rack through an engine.Viewer and its caller
// through a Session, and nothing else: it opens no file and reads no variable
// of the service on a caller's behalf. Command gives the same tree without a
// service, for help, completion scripts and the manual page.
//
// The verbs on Pis are the rows of engine.Verbs: one that is added there is a
// command here, with its flags, help and guard. Who may do what, and who is told
// what of customers, the engine decides.
//
// # Confirmation
//
// What stands before a key in the console stands before a command. On a
// terminal it is asked for. Without one, a guard of a count-down or of "y" is
// passed by --yes, and one of a typed name by --confirm with what would be
// typed: the Pi's name, or the verb and the number of Pis that it will be done
// to ("reimage 3"). A script that finds another number than it expects is
// stopped. Not confirmed means exit status 2, with nothing done.
//
// What is done to customers asks in the same way: for a server's name before it
// is given back, for "y" before a key, an account or a webhook goes. A secret is
// made here, printed on standard output once, and goes nowhere else.
//
// Pis on which the verb cannot be used now are left alone and told of; the
// others are acted on, and the exit status is 1. --dry-run does none of it and
// writes nothing down.
//
// # Exit status
//
// 0: done, also if there was nobody to do it to. 1: refused or failed, if only
// in part. 2: not understood or not confirmed.
//
// # JSON
//
// With --json a command prints one object, watch one a line. "picloud help
// json" lists every field of every object; it is made from the types that are
// printed. "version" is 1 until a field goes or changes its meaning; new ones
// may come. Names are in snake case with the unit in them (milliwatts,
// used_bytes), times are RFC 3339 in UTC, and what is not known is null.
package cli
