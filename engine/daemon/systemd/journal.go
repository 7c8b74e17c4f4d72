package systemd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
)

// Priorities of syslog(3), as sd-daemon(3) writes them before a line.
const (
	prefixError   = "<3>"
	prefixWarning = "<4>"
	prefixInfo    = "<6>"
	prefixDebug   = "<7>"
)

// LogHandler writes lines to w: for people and with a priority if journald reads them, as
// $JOURNAL_STREAM says (systemd.exec(5)), else JSON.
func LogHandler(w io.Writer) slog.Handler {
	if f, ok := w.(*os.File); ok && isJournal(f, os.Getenv("JOURNAL_STREAM")) {
		return newJournal(w)
	}
	return slog.NewJSONHandler(w, nil)
}

// isJournal tells whether a file is the one whose device and inode are in
// stream.
func isJournal(f *os.File, stream string) bool {
	if stream == "" {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// journal is one handler per priority. The time is journald's to know.
type journal struct{ failed, warning, info, debug slog.Handler }

func newJournal(w io.Writer) journal {
	at := func(prefix string) slog.Handler {
		return slog.NewTextHandler(prefixed{w, prefix}, &slog.HandlerOptions{ReplaceAttr: untimed})
	}
	return journal{at(prefixError), at(prefixWarning), at(prefixInfo), at(prefixDebug)}
}

func untimed(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
		return slog.Attr{}
	}
	return a
}

func (j journal) of(l slog.Level) slog.Handler {
	switch {
	case l >= slog.LevelError:
		return j.failed
	case l >= slog.LevelWarn:
		return j.warning
	case l >= slog.LevelInfo:
		return j.info
	}
	return j.debug
}

func (j journal) Enabled(ctx context.Context, l slog.Level) bool { return j.info.Enabled(ctx, l) }

func (j journal) Handle(ctx context.Context, r slog.Record) error {
	return j.of(r.Level).Handle(ctx, r)
}

func (j journal) each(f func(slog.Handler) slog.Handler) slog.Handler {
	return journal{f(j.failed), f(j.warning), f(j.info), f(j.debug)}
}

func (j journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	return j.each(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

func (j journal) WithGroup(name string) slog.Handler {
	return j.each(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

// prefixed writes a prefix before each line; slog makes one call a line.
type prefixed struct {
	w      io.Writer
	prefix string
}

func (p prefixed) Write(b []byte) (int, error) {
	line := make([]byte, 0, len(p.prefix)+len(b))
	n, err := p.w.Write(append(append(line, p.prefix...), b...))
	return max(0, n-len(p.prefix)), err
}
