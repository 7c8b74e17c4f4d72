// Package words turns a command line into its words and back, as a POSIX shell
// quotes them (IEEE Std 1003.1, 2.2), without expanding anything. SSH carries a
// command as one string (RFC 4254, section 6.5).
package words

import (
	"errors"
	"fmt"
	"strings"
)

// Max bounds a command line in bytes, MaxWords its number of words.
const (
	Max      = 64 << 10
	MaxWords = 4096
)

// ErrSyntax is returned for a line that is not made of words.
var ErrSyntax = errors.New("words: bad command line")

// Split cuts a line into words. Spaces, tabs and line ends part them; a
// backslash takes the next character as it is; single quotes take everything,
// double quotes everything but \" \\ \$ \` and a backslash before a line end.
func Split(line string) ([]string, error) {
	if len(line) > Max {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrSyntax, len(line), Max)
	}
	s := splitter{rest: line}
	for s.rest != "" {
		if err := s.next(); err != nil {
			return nil, err
		}
	}
	s.end()
	if len(s.words) > MaxWords {
		return nil, fmt.Errorf("%w: %d words, at most %d", ErrSyntax, len(s.words), MaxWords)
	}
	return s.words, nil
}

type splitter struct {
	rest  string
	words []string
	word  strings.Builder
	began bool // a word, perhaps an empty one
}

func (s *splitter) next() error {
	c := s.rest[0]
	s.rest = s.rest[1:]
	switch c {
	case ' ', '\t', '\n', '\r':
		s.end()
		return nil
	case 0:
		return fmt.Errorf("%w: it has a zero byte", ErrSyntax)
	}
	s.began = true
	switch c {
	case '\\':
		return s.escaped()
	case '\'':
		return s.single()
	case '"':
		return s.double()
	}
	s.word.WriteByte(c)
	return nil
}

func (s *splitter) end() {
	if s.began {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.began = false
}

func (s *splitter) escaped() error {
	if s.rest == "" {
		return fmt.Errorf("%w: nothing follows the last backslash", ErrSyntax)
	}
	if s.rest[0] != '\n' { // or else the line goes on
		s.word.WriteByte(s.rest[0])
	}
	s.rest = s.rest[1:]
	return nil
}

func (s *splitter) single() error {
	text, rest, ok := strings.Cut(s.rest, "'")
	if !ok {
		return fmt.Errorf("%w: a ' is not closed", ErrSyntax)
	}
	s.word.WriteString(text)
	s.rest = rest
	return nil
}

func (s *splitter) double() error {
	for s.rest != "" {
		c := s.rest[0]
		s.rest = s.rest[1:]
		switch {
		case c == '"':
			return nil
		case c == '\\' && s.rest != "" && strings.IndexByte("\"\\$`\n", s.rest[0]) >= 0:
			if err := s.escaped(); err != nil {
				return err
			}
		default:
			s.word.WriteByte(c)
		}
	}
	return fmt.Errorf("%w: a \" is not closed", ErrSyntax)
}

// Join makes a line that Split cuts into the same words.
func Join(words []string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		if w != "" && strings.Trim(w, plain) == "" {
			b.WriteString(w)
			continue
		}
		b.WriteString("'" + strings.ReplaceAll(w, "'", `'\''`) + "'")
	}
	return b.String()
}

// plain are the characters that need no quotes in any shell.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,@%+="
