// Package tui is picloud's console: one Bubble Tea model that draws engine
// snapshots and sends engine commands. It knows nothing else of the rack.
//
// # The screen
//
// From the top: the counts; the faceplate, a map of the switches with odd
// ports over even, one character a Pi; the legend; the table; the log; one
// line about the selected Pi, which gives way to questions and results; the
// keys. At 120x34 a pane on the right shows why the selected Pi is where it
// is. Below 80x24 there is only the table, below 40x10 only one line that says
// so. No line is ever wider than the terminal. Lists cut what does not fit; the
// page of a Pi, the log's own view, questions and results wrap it.
//
// Colours are ANSI 0-15 and never the only sign of anything. Characters are
// those that the console fonts of Debian and Raspberry Pi OS have, or ASCII.
//
// # How a key acts
//
// A verb's guard (engine.Guards) stands between its key and what it does; for
// several Pis it is the strongest of theirs.
//
//   - A count-down acts by itself at its end. Any other key, a click or a paste
//     stops it and does nothing else. The key that started it is ignored while
//     it runs: it neither hurries nor stops, so that a bouncing key does no
//     harm. For half a second after it acted keys are dropped, so that one that
//     came too late to stop it does not start something else.
//   - "y" acts within ten seconds; any other key leaves the Pi alone.
//   - A typed name acts when Enter is pressed after exactly that name (or
//     "reimage 12" for many). Enter is needed because one name may begin
//     another. Enter after anything else, escape, or ten seconds without a key
//     leaves the Pis alone. A name cannot be pasted.
//
// Some verbs ask for an argument first: where a server goes, how large a root
// is to be. Enter after that starts the guard, whose lines say what goes where;
// any key then stops a count-down, the verb's own too.
//
// The generation of each Pi is taken when the guard starts. If a snapshot
// shows another one before the guard is passed, the guard falls and says why;
// later than that the engine refuses.
//
// Verbs act on the marked Pis if there are any, or else on the selected one;
// in the detail of a Pi on that Pi, in the list of jobs on the job's Pi. In the
// log they do nothing, since a log line is not a selection. The selected Pi is
// selected by name: it stays under the cursor even when it leaves the filter.
//
// After ten minutes without a key the console turns read-only until r is
// pressed. A viewer's console, or one opened read-only, stays so. The engine
// decides who may do what; the console only says so early.
//
// What is told of the disk carries its age as everything else does: a "?" after
// a figure means that it was told long ago. "R" after a stage is a Pi in rescue, "E" one under examination.
//
// A job's bar counts its steps as if each took as long, the one that runs by its
// per cent; whose server it is for, why it waits and why it failed is told of the
// selected one.
//
// On the faceplate "#" is a Pi that is marked broken, whatever else it does.
package tui
