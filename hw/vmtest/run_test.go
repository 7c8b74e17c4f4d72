package vmtest

import (
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	programs := []Program{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	var out strings.Builder
	results, finished := read(strings.NewReader("hello\r\nm a 0\r\nother b 9\nm b 3\nm c x\nm end\ntail"), "m", programs, &out)
	if !finished || results[0].Exit != 0 || results[1].Exit != 3 || results[2].Exit != -1 {
		t.Errorf("%v, %v", results, finished)
	}
	if got := out.String(); got != "hello\nother b 9\ntail" {
		t.Errorf("output %q", got)
	}
	if _, finished := read(strings.NewReader("m a 0\n"), "m", programs, &out); finished {
		t.Error("finished without an end")
	}
}

func TestQuote(t *testing.T) {
	if got := quote("a'b $(c)"); got != `'a'\''b $(c)'` {
		t.Errorf("%s", got)
	}
}
