package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"picloud/engine"
)

// testSnapshot gives the rack of the bench without running it.
func testSnapshot(t testing.TB) *engine.Snapshot {
	t.Helper()
	e, err := engine.New(t.Context(), engine.Config{Layout: benchLayout(), Inventory: &inventory{
		boots: map[int64]engine.Boot{}, audit: map[int64]engine.AuditRow{}}, Power: &bench{}, Roots: &bench{}})
	if err != nil {
		t.Fatal(err)
	}
	return e.Snapshot()
}

func TestTargets(t *testing.T) {
	s := testSnapshot(t)
	for _, tc := range []struct{ words, want string }{
		{"a3-001", "1"},
		{"a3-002 a3-001 a3-002", "2 1"},
		{"sw1/3", "3"},
		{"SW1/3", "3"},
		{"sw1/1-3,7", "1 2 3 7"},
		{"sw1/7,1", "1 7"},
		{"sw2/1-4", "9"},
		{"sw2/2-4", ""},
		{"sw1", "1 2 3 4 5 6 7 8"},
		{"a3-00[1-3]", "1 2 3"},
		{"a3-0[01-03]", "1 2 3"},
		{"a3-[001,005-006]", "1 5 6"},
		{"[3-3]", "!"},
		{"@all", "1 2 3 4 5 6 7 8 9"},
		{"@free", "3 4 5 6 8 9"},
		{"@rented", "1 2 7"},
		{"@broken", "8"},
		{"@unknown", "1 2 3 4 5 6 7 8 9"},
		{"@up @rented", "1 2 7"},
		{"@busy", ""},
		{"", ""},
		{"@", "!"},
		{"@Up", "!"},
		{"a3-010", "!"},
		{"A3-001", "!"},
		{"a3-0[08-10]", "!"},
		{"a3-00[3-1]", "!"},
		{"a3-00[]", "!"},
		{"a3-00[1", "!"},
		{"a3-00[1-99999999999]", "!"},
		{"a3-00[1][2]", "!"},
		{"a3-00[-1]", "!"},
		{"sw1/", "!"},
		{"sw1/0", "!"},
		{"sw1/9", "!"},
		{"sw1/1-", "!"},
		{"sw1/+1", "!"},
		{"sw1/3-1", "!"},
		{"sw2/3", "!"},
		{"sw3/1", "!"},
		{"a3-001 nobody", "!"},
	} {
		pis, err := resolve(s, strings.Fields(tc.words))
		var got []string
		for _, p := range pis {
			got = append(got, strings.TrimLeft(strings.TrimPrefix(string(p.Name), "a3-"), "0"))
		}
		text := strings.Join(got, " ")
		if err != nil {
			text = "!"
			var nt *noTarget
			if !errors.As(err, &nt) || nt.hint == "" {
				t.Errorf("%q: %v has no hint", tc.words, err)
			}
		}
		if text != tc.want {
			t.Errorf("%q: %q (%v), want %q", tc.words, text, err, tc.want)
		}
	}
}

func TestEveryStageIsASet(t *testing.T) {
	s := testSnapshot(t)
	names := setNames()
	for _, n := range names {
		if _, err := resolve(s, []string{n}); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
	if !slices.Contains(names, "@stalled") || !slices.Contains(names, "@unknown") {
		t.Errorf("sets: %q", names)
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != len(setNames()) {
		t.Errorf("two sets of one name: %q", names)
	}
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]string{
		"20G": "20000000000", "20GB": "20000000000", "20gb": "20000000000", "500M": "500000000", "1.5T": "1500000000000", "+5G": "+5000000000",
		"0.5G": "500000000", " 2G ": "2000000000", "1000T": "1000000000000000", "007G": "7000000000",
		"": "!", "G": "!", "20": "!", "20K": "!", "20GiB": "!", "-5G": "!", "1.G": "!", ".5G": "!", "1.2.3G": "!", "0G": "!", "1001T": "!",
		"99999999999999999999T": "!", "0.0000001M": "!", "1e3G": "!", "++1G": "!",
	} {
		got, err := parseSize(s)
		text := fmt.Sprint(got.bytes)
		if got.more {
			text = "+" + text
		}
		if err != nil {
			text = "!"
		}
		if text != want {
			t.Errorf("%q: %s (%v), want %s", s, text, err, want)
		}
	}
}

func FuzzTargets(f *testing.F) {
	for _, seed := range []string{"a3-001", "sw1/1-12,15", "a3-0[01-03]", "@stalled", "sw2", "a3-00[1-3]x", "sw1/4294967297", "@", "[", "]", "a[-]", "/", "sw1/,"} {
		f.Add(seed)
	}
	s := testSnapshot(f)
	f.Fuzz(func(t *testing.T, word string) {
		pis, err := resolve(s, []string{word})
		if err != nil && len(pis) > 0 {
			t.Errorf("%q: %d Pis and %v", word, len(pis), err)
		}
		seen := map[engine.PiName]bool{}
		for _, p := range pis {
			if seen[p.Name] {
				t.Errorf("%q: %s twice", word, p.Name)
			}
			seen[p.Name] = true
		}
	})
}

func FuzzSize(f *testing.F) {
	for _, seed := range []string{"20G", "+1.5T", "1e9", "0.0M", "99999999999999999999G"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := parseSize(s); err == nil && (got.bytes <= 0 || got.bytes > maxSize) {
			t.Errorf("%q: %d", s, got.bytes)
		}
	})
}
