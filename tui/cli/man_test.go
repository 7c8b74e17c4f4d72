package cli

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestManPageIsGroff(t *testing.T) {
	var b strings.Builder
	if err := Man(&b, Command(nil, Session{}), time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".SS picloud pi reimage PI... [\\-\\-image IMAGE]", "\\fB\\-\\-confirm\\fR \\fITEXT\\fR", ".SH WHAT \\-\\-JSON PRINTS"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no groff to read it with: apt install groff-base")
		}
		t.Skip("no groff to read it with")
	}
	cmd := exec.CommandContext(t.Context(), groff, "-man", "-Tascii", "-ww", "-rLL=80n", "-z")
	cmd.Stdin = strings.NewReader(b.String())
	out, err := cmd.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("groff: %v\n%s", err, out)
	}
}
