package tftp

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/netip"
)

// Errors that a Tree returns so that the client is told the right thing.
var (
	// ErrNotFound means that there is no such file. The client gets code 1, at
	// once: boot ROMs ask for many files that do not exist. An error that is
	// fs.ErrNotExist is treated alike.
	ErrNotFound = errors.New("file not found")
	// ErrDenied means that the client must not have the file. The client gets code
	// 2. An error that is fs.ErrPermission is treated alike.
	ErrDenied = errors.New("access denied")
	// ErrUnknownClient means that nothing is served to that client. The client
	// gets code 2.
	ErrUnknownClient = errors.New("unknown client")
)

// Request is a read request that was understood.
type Request struct {
	// Client is where the request came from. Boot ROMs use the same few ports, from
	// 49152 up, on every boot.
	Client netip.AddrPort
	// Server is the address that the request was sent to. It is invalid if the
	// system does not tell.
	Server netip.Addr
	// Interface is the index of the interface on which the request arrived, or 0
	// if the system does not tell. It says which segment the request came from,
	// which a forged source address does not.
	Interface int
	// Name is the file name as the client sent it: any octets but NUL, at least
	// one, at most 500 or so. It is hostile input.
	Name string
	// Mode is "octet" or "netascii".
	Mode string
	// BlkSize is the block size in octets that the client asked for, or 0.
	BlkSize int
	// TSize is whether the client asked for the size of the file.
	TSize bool
}

// Tree opens the files of a client's virtual folder. It is called by many
// goroutines at once.
type Tree interface {
	// Open opens the file that r asks for. It returns ErrNotFound, ErrDenied or
	// ErrUnknownClient, wrapped as it likes, or any other error for a failure of
	// the server; the text of none of them reaches the client. Open should give up
	// when ctx is done.
	Open(ctx context.Context, r Request) (File, error)
}

// File is an open file of a Tree.
type File interface {
	io.Reader
	io.Closer
	// Size is how many octets the file has, asked for once when the transfer
	// starts. Exactly that many are sent: a file that has grown is cut, and a file
	// that turns out shorter fails the transfer.
	Size() int64
}

// wireError is what a client is told: a code of RFC 1350, appendix, and a text.
type wireError struct {
	code uint16
	text string
}

// What clients are told. The texts never depend on the error at hand.
var (
	wireNotFound  = wireError{1, "file not found"}
	wireDenied    = wireError{2, "access denied"}
	wireReadOnly  = wireError{2, "read only server"}
	wireMalformed = wireError{4, "malformed request"}
	wireFailed    = wireError{0, "server error"}
	wireTooLong   = wireError{0, "transfer took too long"}
	wireStopping  = wireError{0, "server is stopping"}
)

// outcomes says, for each error of a Tree, what kind of event it is and what the
// client is told.
var outcomes = []struct {
	err  error
	kind Kind
	wire wireError
}{
	{ErrNotFound, NotFound, wireNotFound},
	{fs.ErrNotExist, NotFound, wireNotFound},
	{ErrDenied, Refused, wireDenied},
	{fs.ErrPermission, Refused, wireDenied},
	{ErrUnknownClient, Refused, wireDenied},
}

func outcome(err error) (Kind, wireError) {
	for _, o := range outcomes {
		if errors.Is(err, o.err) {
			return o.kind, o.wire
		}
	}
	return Failed, wireFailed
}
