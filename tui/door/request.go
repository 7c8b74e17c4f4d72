package door

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"picloud/tui"
)

// Bounds of what a client may say of its terminal.
const (
	maxEnv    = 128 // bytes of a value
	maxTerm   = 64  // bytes of a terminal's name
	maxWidth  = 500
	maxHeight = 200
)

// Sizes of a terminal that does not say its own: that of a VT100.
var defaultSize = tui.Size{Width: 80, Height: 24}

// environment are the variables that are taken from a client.
var environment = []string{"COLORTERM", "NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE"}

// nobody is a variable of package attach: a terminal shows what is written, but
// nobody can be asked, since input comes from elsewhere.
const nobody = "PICLOUD_NOBODY"

var errRequest = errors.New("door: bad request")

// terminal is what a client says of its terminal (RFC 4254, section 6.2).
type terminal struct {
	name string
	size tui.Size
	mode lineMode
}

// lineMode is what the server does to a terminal's lines; a client that does it
// itself says so (RFC 4254, section 8).
type lineMode struct {
	canonical bool // collects whole lines that can be edited
	echo      bool // shows what is typed
	signals   bool // ctrl-c interrupts
	returns   bool // takes CR as NL
	newlines  bool // writes NL as CR NL
}

// modeBits are the terminal modes that matter, by their opcodes.
var modeBits = map[byte]func(*lineMode) *bool{
	36: func(m *lineMode) *bool { return &m.returns },   // ICRNL
	50: func(m *lineMode) *bool { return &m.signals },   // ISIG
	51: func(m *lineMode) *bool { return &m.canonical }, // ICANON
	53: func(m *lineMode) *bool { return &m.echo },      // ECHO
	72: func(m *lineMode) *bool { return &m.newlines },  // ONLCR
}

const (
	endOfModes  = 0
	lastNumbers = 159 // opcodes up to here have a number
)

// parseTerminal reads a pty-req.
func parseTerminal(payload []byte) (*terminal, error) {
	var msg struct {
		Term                      string
		Columns, Rows, Wide, High uint32
		Modes                     string
	}
	if err := ssh.Unmarshal(payload, &msg); err != nil {
		return nil, errRequest
	}
	if len(msg.Term) > maxTerm || strings.Trim(msg.Term, termCharacters) != "" {
		return nil, errRequest
	}
	return &terminal{msg.Term, clamp(msg.Columns, msg.Rows), parseModes([]byte(msg.Modes))}, nil
}

const termCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+"

// parseModes reads encoded terminal modes; those not told are a usual
// terminal's. Opcodes above 159 end them.
func parseModes(b []byte) lineMode {
	m := lineMode{true, true, true, true, true}
	for len(b) >= 5 && b[0] != endOfModes && b[0] <= lastNumbers {
		if field := modeBits[b[0]]; field != nil {
			*field(&m) = binary.BigEndian.Uint32(b[1:]) != 0
		}
		b = b[5:]
	}
	return m
}

// parseSize reads a window-change (RFC 4254, section 6.7).
func parseSize(payload []byte) (tui.Size, error) {
	var msg struct{ Columns, Rows, Wide, High uint32 }
	if err := ssh.Unmarshal(payload, &msg); err != nil {
		return tui.Size{}, errRequest
	}
	return clamp(msg.Columns, msg.Rows), nil
}

// clamp makes a size that can be drawn: 0 means that the client does not know
// it, and a screen of millions of characters is an attack.
func clamp(columns, rows uint32) tui.Size {
	size := tui.Size{Width: int(min(columns, maxWidth)), Height: int(min(rows, maxHeight))}
	if size.Width == 0 {
		size.Width = defaultSize.Width
	}
	if size.Height == 0 {
		size.Height = defaultSize.Height
	}
	return size
}

// parseEnv reads an env request (RFC 4254, section 6.4) of a variable that is
// taken.
func parseEnv(payload []byte) (string, error) {
	var msg struct{ Name, Value string }
	if err := ssh.Unmarshal(payload, &msg); err != nil {
		return "", errRequest
	}
	if msg.Name != nobody && !slices.Contains(environment, msg.Name) || printable(msg.Value, maxEnv) != msg.Value {
		return "", errRequest
	}
	return msg.Name + "=" + msg.Value, nil
}

// parseString reads the payload of exec and signal.
func parseString(payload []byte) (string, error) {
	var msg struct{ Value string }
	if err := ssh.Unmarshal(payload, &msg); err != nil {
		return "", errRequest
	}
	return msg.Value, nil
}
