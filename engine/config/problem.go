package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Problem is one mistake in a configuration.
type Problem struct {
	File    string
	Line    int // from 1; 0 = not a place in a file
	Column  int // from 1, in bytes
	Message string
	Remedy  string // what to do about it, "" = the message says it
}

// Error gives "FILE:LINE:COL: message" and, on a line of its own,
// "  try: remedy".
func (p Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	if p.Remedy != "" {
		b.WriteString("\n  try: ")
		b.WriteString(p.Remedy)
	}
	return b.String()
}

// maxProblems bounds what is kept of a file that is wrong throughout.
const maxProblems = 200

// problems gathers mistakes up to maxProblems and counts the rest.
type problems struct {
	file  string
	found []Problem
	more  int
}

func (l *problems) add(at position, message, remedy string) {
	if len(l.found) >= maxProblems {
		l.more++
		return
	}
	l.found = append(l.found, Problem{
		File: l.file, Line: at.line, Column: at.column, Message: message, Remedy: remedy,
	})
}

// sorted returns the problems in the file's order; those without a place come
// first, those of other files (credentials) last.
func (l *problems) sorted() []Problem {
	slices.SortStableFunc(l.found, func(a, b Problem) int {
		if a.File != b.File && (a.File == l.file || b.File == l.file) {
			if a.File == l.file {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if l.more > 0 {
		return append(l.found, Problem{File: l.file, Message: fmt.Sprintf("and %d more mistakes", l.more)})
	}
	return l.found
}

// fault is what is wrong with a value, before it has a place.
type fault struct{ message, remedy string }

func faultf(remedy, format string, args ...any) *fault {
	return &fault{fmt.Sprintf(format, args...), remedy}
}

// show quotes what a file says for a message, and bounds it.
func show(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strconv.Quote(s)
}
