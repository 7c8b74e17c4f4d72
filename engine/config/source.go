package config

import (
	"bytes"
	"sort"
)

// position is a place in a file; the zero value is none.
type position struct{ line, column int }

// place names a value of a Config independent of where it is in memory: table
// path, element number of the table and of the table it is nested in, key. An
// empty key is the table itself.
type place struct {
	table string
	i, j  int
	key   string
}

// source remembers where in a file each value came from.
type source struct {
	file string
	at   map[place]position
	// bad are values that were there and could not be read, and tables with a
	// syntax error in them: they are reported already, and what would follow
	// from their absence is not said.
	bad map[place]bool
	// broken: the file has a syntax error, so anything may be missing.
	broken bool
}

// position finds a value, or else its table.
func (s *source) position(p place) position {
	if s == nil {
		return position{}
	}
	if at, ok := s.at[p]; ok {
		return at
	}
	p.key = ""
	return s.at[p]
}

// spoilt tells whether p's absence or emptiness is no news.
func (s *source) spoilt(p place) bool {
	return s != nil && (s.bad[p] || s.bad[place{table: p.table, i: p.i, j: p.j}])
}

// anyBad tells whether some value of that key could not be read.
func (s *source) anyBad(table, key string) bool {
	if s == nil {
		return false
	}
	if s.broken {
		return true
	}
	for p := range s.bad {
		if p.table == table && (p.key == key || p.key == "") {
			return true
		}
	}
	return false
}

// lines finds line and column of byte offsets.
type lines struct{ starts []int }

func newLines(data []byte) lines {
	starts := []int{0}
	for off := 0; ; {
		n := bytes.IndexByte(data[off:], '\n')
		if n < 0 {
			return lines{starts}
		}
		off += n + 1
		starts = append(starts, off)
	}
}

func (l lines) position(offset int) position {
	i := l.line(offset)
	return position{i + 1, offset - l.starts[i] + 1}
}

// line is the index of the line that holds offset.
func (l lines) line(offset int) int {
	return sort.SearchInts(l.starts, offset+1) - 1
}
