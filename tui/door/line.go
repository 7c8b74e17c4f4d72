package door

import (
	"io"
	"sync"
	"unicode/utf8"
)

// Bounds of what is typed and not read yet.
const (
	maxLine  = 4096 // as in Linux's N_TTY
	maxAhead = 16 << 10
)

// Control characters of a terminal (termios(3), their usual keys).
const (
	ctrlC  = 3
	ctrlD  = 4
	ctrlH  = 8
	ctrlU  = 21
	rubout = 127
)

// line is a terminal's line discipline: a client that asks for a terminal turns
// its own off. It echoes, edits and collects lines, and hears ctrl-c even while
// nobody reads.
type line struct {
	mode      lineMode
	echo      io.Writer
	interrupt func()

	mu    sync.Mutex
	more  *sync.Cond
	typed []byte // the line that is being typed
	ready []byte // to be read
	ends  int    // ctrl-d on empty lines, each ends one Read
	ended bool
}

func newLine(mode lineMode, echo io.Writer, interrupt func()) *line {
	l := &line{mode: mode, echo: echo, interrupt: interrupt}
	l.more = sync.NewCond(&l.mu)
	return l
}

// pump takes what is typed until the client closes its input.
func (l *line) pump(r io.Reader) {
	buf := make([]byte, 1024)
	for {
		n, err := r.Read(buf)
		for _, c := range buf[:n] {
			if shown := l.take(c); l.mode.echo && len(shown) > 0 {
				if _, err := l.echo.Write(shown); err != nil {
					break
				}
			}
		}
		if err != nil {
			l.close()
			return
		}
	}
}

// Read gives what is ready: a line at a time if the mode collects lines.
func (l *line) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.ready) == 0 && l.ends == 0 && !l.ended {
		l.more.Wait()
	}
	if len(l.ready) == 0 {
		if l.ends > 0 {
			l.ends--
		}
		return 0, io.EOF
	}
	n := copy(p, l.ready)
	l.ready = l.ready[:copy(l.ready, l.ready[n:])]
	return n, nil
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.flush()
	l.more.Broadcast()
}

// take takes one byte and returns what to show for it.
func (l *line) take(c byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c == '\r' && l.mode.returns {
		c = '\n'
	}
	if c == ctrlC && l.mode.signals {
		l.typed = l.typed[:0]
		l.interrupt()
		return []byte("^C\n")
	}
	if l.mode.canonical {
		return l.edit(c)
	}
	if len(l.ready) < maxAhead {
		l.ready = append(l.ready, c)
		l.more.Broadcast()
	}
	return []byte{c}
}

// edit takes one byte of a line that can be edited.
func (l *line) edit(c byte) []byte {
	switch {
	case c == '\n':
		l.typed = append(l.typed, '\n')
		l.flush()
		return []byte{'\n'}
	case c == rubout || c == ctrlH:
		return l.erase(1)
	case c == ctrlU:
		return l.erase(len(l.typed))
	case c == ctrlD:
		if len(l.typed) == 0 {
			l.ends = min(l.ends+1, 1)
			l.more.Broadcast()
		} else {
			l.flush()
		}
		return nil
	case c < ' ' && c != '\t' || len(l.typed) >= maxLine:
		return nil
	}
	l.typed = append(l.typed, c)
	return []byte{c}
}

// erase drops the last n characters of the line.
func (l *line) erase(n int) []byte {
	var shown []byte
	for ; n > 0 && len(l.typed) > 0; n-- {
		_, size := utf8.DecodeLastRune(l.typed)
		l.typed = l.typed[:len(l.typed)-size]
		shown = append(shown, "\b \b"...)
	}
	return shown
}

// flush makes the line ready. What nobody reads is bounded: more is dropped.
func (l *line) flush() {
	if len(l.ready)+len(l.typed) <= maxAhead {
		l.ready = append(l.ready, l.typed...)
	}
	l.typed = l.typed[:0]
	l.more.Broadcast()
}
