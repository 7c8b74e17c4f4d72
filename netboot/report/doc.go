// Package report is how a Pi under examination tells what it found: by one HTTP
// POST after the other, to the file server's address on its own segment, from the
// small system in memory that package rescue builds.
//
// An [Order] goes to the Pi in the words of its kernel's command line: where to
// report, by which address, for how long to work, and a token. The Pi answers
// with [Report]s, of which the ones before the last only tell that it works. A
// report is text, a line for each fact, and so is nothing that a shell cannot
// write:
//
//	POST /report/TOKEN HTTP/1.0
//
//	phase=end
//	mac=dc:a6:32:01:02:03
//	memory=3882152
//	...
//
// Whoever sends it may be anybody's program on anybody's board. So [Parse] takes
// what it knows and nothing else, and the [Server] listens for one Pi at a time:
// at the address of its segment, for its address, while it is examined, with the
// token that nobody but the Pi has been given, and for so much at once. What is in
// a report remains the sender's word.
package report
