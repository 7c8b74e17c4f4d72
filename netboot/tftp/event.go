package tftp

import (
	"errors"
	"net/netip"
	"time"
)

// Kind is what became of a request.
type Kind string

// Kinds of events. Every request has at most one Started and then exactly one of
// the others, except that a repeated request has none of its own when it only
// makes the server repeat its first answer.
const (
	// Started: the file was opened, and its first packet is about to be sent.
	Started Kind = "started"
	// Served: the client has acknowledged the last block.
	Served Kind = "served"
	// NotFound: there is no such file. For many names this is the normal answer.
	NotFound Kind = "not found"
	// EarlyTerminate: the client ended the transfer with ERROR 0 after the OACK or
	// the first block, as boot ROMs do when they only want to know whether a file
	// exists and how big it is. A normal end.
	EarlyTerminate Kind = "early terminate"
	// Replaced: the same client started another transfer instead, for it was
	// restarted or has given up waiting. Not a failure of the server.
	Replaced Kind = "replaced"
	// Refused: a write, a malformed request, a client or a file that is not served,
	// or too many requests at once (ErrBusy).
	Refused Kind = "refused"
	// Failed: the transfer broke off. Err has the cause.
	Failed Kind = "failed"
)

// Causes of events.
var (
	// ErrBusy: so many transfers run and wait already that the request was dropped
	// without an answer. The client asks again after its own timeout.
	ErrBusy = errors.New("too many transfers")
	// ErrMalformed: the request breaks RFC 1350 or RFC 2347.
	ErrMalformed = errors.New("malformed request")
	// ErrWrite: the client asked to write.
	ErrWrite = errors.New("write request")
	// ErrReplaced: another request of the same client has taken the transfer's
	// place.
	ErrReplaced = errors.New("replaced by another request")
	// ErrTimeLimit: the transfer as a whole took longer than Config.MaxTime.
	ErrTimeLimit = errors.New("transfer took too long")
	// ErrNoAnswer: the client acknowledged nothing for as long as the server
	// repeats a packet, or its port is closed.
	ErrNoAnswer = errors.New("no acknowledgement from the client")
	// ErrTruncated: the file turned out shorter than it said when it was opened.
	ErrTruncated = errors.New("file became shorter while it was sent")
	// ErrClient: the client ended the transfer with an ERROR packet.
	ErrClient = errors.New("error from the client")
	// ErrStopped: the server was stopped.
	ErrStopped = errors.New("server stopped")
)

// Event is an observation: what a client asked for and what became of it. Events of
// different requests may come slightly out of order, even of one client: the last
// acknowledgement of a file is followed at once by the request for the next.
type Event struct {
	// Time is when the event happened.
	Time time.Time
	// Kind is what happened.
	Kind Kind
	// Client is where the request came from, Server the address that it was sent
	// to, and Interface the index of the interface on which it arrived; see Request.
	Client    netip.AddrPort
	Server    netip.Addr
	Interface int
	// Name is the file name asked for, made fit for printing: at most 128 octets,
	// printable ASCII only, with '?' in place of anything else.
	Name string
	// File is what the Tree opened, nil if it did not. It is there to be asked what
	// it is: it is read elsewhere, and may be closed.
	File File
	// Size is the size of the file in octets, or 0 if it was not opened.
	Size int64
	// Bytes is how many octets of the file the client has acknowledged.
	Bytes int64
	// Took is the time since the request arrived, including the wait for its turn.
	Took time.Duration
	// Err is the cause, of Failed, Refused, NotFound, Replaced and EarlyTerminate.
	// It may name files of the server: for operators only.
	Err error
}

// maxPrintedName is the limit for Event.Name in octets.
const maxPrintedName = 128

// printable makes a name from the network fit for logs and terminals.
func printable(name string) string {
	b := []byte(name[:min(len(name), maxPrintedName)])
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}
