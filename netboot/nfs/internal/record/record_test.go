package record

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"picloud/netboot/nfs"
)

func export(id string) nfs.Export {
	return nfs.Export{ID: id, Dir: "/volumes/" + id, Path: "/srv/" + id, Client: netip.MustParseAddr("10.0.0.2")}
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRecordsLast(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	numbers := map[uint32]string{}
	for i := range 300 {
		r, err := s.Put(export(fmt.Sprint("pi-", i)))
		if err != nil {
			t.Fatal(err)
		}
		if other := numbers[r.Number]; other != "" || r.Number == 0 {
			t.Fatalf("number %d of %s is that of %q", r.Number, r.ID, other)
		}
		numbers[r.Number] = r.ID
	}
	changed := export("pi-7")
	changed.Dir = "/elsewhere"
	was, _ := s.Get("pi-7")
	if r, err := s.Put(changed); err != nil || r.Number != was.Number || r.Dir != "/elsewhere" {
		t.Errorf("%+v, %v", r, err)
	}
	for range 2 {
		if err := s.Delete("pi-8"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "fresh-1"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	if len(again.All()) != 299 {
		t.Errorf("%d records", len(again.All()))
	}
	for _, r := range again.All() {
		if numbers[r.Number] != r.ID {
			t.Errorf("%s has number %d", r.ID, r.Number)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "fresh-1")); err == nil {
		t.Error("a half-written file is still there")
	}
}

func TestNumbersDoNotMeet(t *testing.T) {
	s := open(t, t.TempDir())
	s.used[s.number(export("a"))] = "someone"
	if r, err := s.Put(export("a")); err != nil || r.Number == 0 || s.used[r.Number] != "a" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestConflict(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.Put(export("a")); err != nil {
		t.Fatal(err)
	}
	path, dir := export("b"), export("b")
	path.Path, dir.Dir = export("a").Path, export("a").Dir
	dir.Client = netip.MustParseAddr("10.0.0.6")
	for name, tc := range map[string]struct {
		e    nfs.Export
		want string // in the error
	}{
		"itself":          {e: export("a")},
		"another":         {e: export("b")},
		"the same path":   {path, "path /srv/a is of export \"a\""},
		"the same folder": {dir, "folder /volumes/a is of export \"a\""},
	} {
		err := s.Conflict(tc.e)
		if tc.want == "" && err != nil || tc.want != "" && (!errors.Is(err, nfs.ErrConflict) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestDamaged(t *testing.T) {
	for _, content := range []string{"", "{}", `{"ID":"a","Number":1}`, "null"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName("a")), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil {
			t.Errorf("%q was taken", content)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"ID":"a","Dir":"/a","Path":"/srv/a","Client":"10.0.0.2","ReadOnly":false,"Number":7}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parse(b); err == nil && (r.Number == 0 || r.Validate() != nil) {
			t.Errorf("%+v", r)
		}
	})
}
