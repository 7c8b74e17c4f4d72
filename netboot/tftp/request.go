package tftp

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Opcodes (RFC 1350, section 5; OACK is of RFC 2347).
const (
	opRRQ   = 1
	opWRQ   = 2
	opDATA  = 3
	opACK   = 4
	opERROR = 5
	opOACK  = 6
)

const (
	// maxRequest is the longest request in octets (RFC 2347, "Packet Formats").
	maxRequest = 512
	// minBlkSize and maxBlkSize are the limits of the blksize option (RFC 2348).
	// The library does not go below 512; smaller wishes are not granted, which
	// RFC 2347 allows.
	minBlkSize = 512
	maxBlkSize = 65464
	// plainBlkSize is the block size without the option.
	plainBlkSize = 512
)

// opcode returns the packet type of a datagram, or 0.
func opcode(p []byte) int {
	if len(p) < 2 || p[0] != 0 {
		return 0
	}
	return int(p[1])
}

// parseRequest understands a read or write request without its addresses. Every
// error is ErrMalformed. Unknown options, and known ones with values out of
// range, are ignored, as RFC 2347 wants; of repeated ones the first counts.
func parseRequest(p []byte) (Request, error) {
	var r Request
	if len(p) > maxRequest {
		return r, fmt.Errorf("%w: longer than %d octets", ErrMalformed, maxRequest)
	}
	if op := opcode(p); op != opRRQ && op != opWRQ {
		return r, fmt.Errorf("%w: opcode %d", ErrMalformed, op)
	}
	name, rest, ok := cutString(p[2:])
	if !ok || name == "" {
		return r, fmt.Errorf("%w: no file name", ErrMalformed)
	}
	mode, rest, ok := cutString(rest)
	if !ok {
		return r, fmt.Errorf("%w: no mode", ErrMalformed)
	}
	r.Name, r.Mode = name, strings.ToLower(mode)
	if r.Mode != "octet" && r.Mode != "netascii" {
		return r, fmt.Errorf("%w: unknown mode", ErrMalformed)
	}
	parseOptions(&r, rest)
	return r, nil
}

// parseOptions reads the options after the mode, up to the first that is broken.
func parseOptions(r *Request, p []byte) {
	for {
		var key, value string
		var ok bool
		if key, p, ok = cutString(p); !ok {
			return
		}
		if value, p, ok = cutString(p); !ok {
			return
		}
		// Names of options are case-insensitive (RFC 2347).
		switch strings.ToLower(key) {
		case "blksize":
			n, err := strconv.ParseUint(value, 10, 31)
			if err == nil && n >= minBlkSize && n <= maxBlkSize && r.BlkSize == 0 {
				r.BlkSize = int(n)
			}
		case "tsize":
			// The size of netascii text is not known before it is converted.
			r.TSize = r.Mode == "octet"
		}
	}
}

// cutString splits p after its first NUL.
func cutString(p []byte) (s string, rest []byte, ok bool) {
	i := bytes.IndexByte(p, 0)
	if i < 0 {
		return "", nil, false
	}
	return string(p[:i]), p[i+1:], true
}

// appendError appends an ERROR packet.
func appendError(p []byte, e wireError) []byte {
	p = append(p, 0, opERROR, byte(e.code>>8), byte(e.code))
	p = append(p, e.text...)
	return append(p, 0)
}

// libraryRequest is the request that is handed to pin/tftp for r: only what was
// granted is in it. The name is not: the file is already open.
//
// The library drops a tsize of "0" from its OACK, so that an empty file is sent
// as "00": RFC 2349 wants the size, and it is the same number.
func libraryRequest(r Request, blkSize int, size int64) []byte {
	p := append([]byte{0, opRRQ}, "file\x00"...)
	p = append(append(p, r.Mode...), 0)
	if r.TSize {
		v := strconv.FormatInt(size, 10)
		if size == 0 {
			v = "00"
		}
		p = append(append(append(p, "tsize\x00"...), v...), 0)
	}
	if r.BlkSize != 0 {
		p = append(append(append(p, "blksize\x00"...), strconv.Itoa(blkSize)...), 0)
	}
	return p
}
