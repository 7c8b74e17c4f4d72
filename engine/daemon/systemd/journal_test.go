package systemd

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func logFile(t *testing.T) (f *os.File, stream string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return f, fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

func TestLogHandler(t *testing.T) {
	for _, tt := range []struct {
		name    string
		journal bool
		want    []string
	}{
		{"journald", true, []string{
			`<6>msg=serving rack=r1`, `<4>msg="no room" rack=r1`, `<3>msg="two\nlines" rack=r1 job.err="it <0>"`, "",
		}},
		{"a terminal or a file", false, []string{`{"time":`, `{"time":`, `{"time":`, ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, stream := logFile(t)
			if !tt.journal {
				stream = "1:2"
			}
			t.Setenv("JOURNAL_STREAM", stream)
			log := slog.New(LogHandler(f)).With("rack", "r1")
			log.Info("serving")
			log.Debug("not told")
			log.Warn("no room")
			log.WithGroup("job").Error("two\nlines", "err", "it <0>")
			text, err := os.ReadFile(f.Name())
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Split(string(text), "\n")
			if len(got) != len(tt.want) {
				t.Fatalf("%d lines, want %d: %s", len(got), len(tt.want), text)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(got[i], want) || want == "" && got[i] != "" {
					t.Errorf("line %d: %s, want %s", i, got[i], want)
				}
			}
		})
	}
}
