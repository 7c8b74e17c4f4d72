package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// Keys that nobody has the private halves of: their 32 bytes are SHA-256 of
// "picloud example key" and of the same with a 2.
const (
	keyOne = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII96UmRBx1+s+V/Y8fg0QEPahjTXpgS5orqasNHvpl51 alice"
	keyTwo = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g bob@home"
)

func TestParseOperatorKey(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		ok   bool
	}{
		"ed25519":         {keyOne, true},
		"without comment": {strings.TrimSuffix(keyOne, " alice"), true},
		"line end":        {keyOne + "\n", true},
		"two lines":       {keyOne + "\n" + keyTwo, false},
		"options":         {`command="sh" ` + keyOne, false},
		"cut off":         {keyOne[:40], false},
		"another type":    {strings.Replace(keyOne, "ssh-ed25519", "ssh-rsa", 1), false},
		"dsa":             {strings.Replace(keyOne, "ssh-ed25519", "ssh-dss", 1), false},
		"escape":          {keyOne + "\x1b[2J", false},
		"nothing":         {"", false},
		"long":            {keyOne + strings.Repeat("x", 9000), false},
		"long escape":     {keyOne + strings.Repeat("x", 200) + "\x1b[2J", false},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := ParseOperatorKey(c.line)
			if (err == nil) != c.ok || !c.ok && !errors.Is(err, ErrKey) {
				t.Errorf("%+v, %v", k, err)
			}
		})
	}
}

// What customers send as the keys of a server: several, by line.
func TestParseKeys(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
		err  error
	}{
		"nothing":         {"", nil, nil},
		"one":             {keyOne, []string{keyOne}, nil},
		"CR LF":           {keyOne + "\r\n" + keyTwo + "\r\n", []string{keyOne, keyTwo}, nil},
		"LF, empty lines": {"\n" + keyOne + "\n\n \n" + keyTwo, []string{keyOne, keyTwo}, nil},
		"the same twice":  {keyOne + "\n" + strings.Replace(keyOne, "alice", "a2", 1), []string{keyOne}, nil},
		"lone CR":         {keyOne + "\r" + keyTwo, nil, ErrKey},
		"options":         {keyOne + "\n" + `command="sh" ` + keyTwo, nil, ErrKey},
		"comment line":    {"# mine\n" + keyOne, nil, ErrKey},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseKeys(c.text)
			if !slices.Equal(got, c.want) || !errors.Is(err, c.err) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func FuzzParseOperatorKey(f *testing.F) {
	f.Add(keyOne)
	f.Add("ssh-rsa AAAA")
	f.Fuzz(func(t *testing.T, line string) {
		k, err := ParseOperatorKey(line)
		if err != nil {
			return
		}
		again, err := ParseOperatorKey(k.Line)
		if err != nil || again != k || strings.ContainsAny(k.Line, "\r\n\x00") {
			t.Errorf("%q became %+v, then %+v, %v", line, k, again, err)
		}
	})
}

// Every act on operators by every role, with its audit row.
func TestChangeOperators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, nil)
		admin := Actor{Name: "root", Role: RoleAdmin, Source: "tty"}
		alice := Operator{Name: "alice", Role: RoleOperator, Keys: []OperatorKey{{Line: keyOne}}}
		for _, c := range []struct {
			name string
			cmd  OperatorCommand
			want error
		}{
			{"by a viewer", OperatorCommand{OperatorAdd, Actor{Name: "v", Role: RoleViewer}, alice, ""}, ErrNotAllowed},
			{"by an operator", OperatorCommand{OperatorAdd, Actor{Name: "o", Role: RoleOperator}, alice, ""}, ErrNotAllowed},
			{"set before add", OperatorCommand{OperatorSet, admin, alice, ""}, ErrNoSuchOperator},
			{"add", OperatorCommand{OperatorAdd, admin, alice, "new"}, nil},
			{"add twice", OperatorCommand{OperatorAdd, admin, alice, ""}, ErrOperatorExists},
			{"the key of another", OperatorCommand{OperatorAdd, admin, Operator{Name: "eve", Keys: alice.Keys}, ""}, ErrKeyTaken},
			{"no key", OperatorCommand{OperatorAdd, admin, Operator{Name: "eve", Keys: []OperatorKey{{Line: "x"}}}, ""}, ErrKey},
			{"a bad name", OperatorCommand{OperatorAdd, admin, Operator{Name: "Eve;rm"}, ""}, ErrOperatorName},
			{"set", OperatorCommand{OperatorSet, admin, Operator{Name: "alice", Role: RoleViewer, Keys: []OperatorKey{{Line: keyTwo}}}, ""}, nil},
		} {
			if err := b.e.ChangeOperators(t.Context(), c.cmd); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
		}
		two, err := ParseOperatorKey(keyTwo)
		if err != nil {
			t.Fatal(err)
		}
		if o, ok := b.e.Operators().ByKey(two.Fingerprint); !ok || o.Name != "alice" || o.Role != RoleViewer || o.Added.IsZero() {
			t.Errorf("by key: %+v, %v", o, ok)
		}
		one, _ := ParseOperatorKey(keyOne)
		if _, ok := b.e.Operators().ByKey(one.Fingerprint); ok {
			t.Error("a key that was taken away still finds its operator")
		}
		if err := b.e.ChangeOperators(t.Context(), OperatorCommand{OperatorRemove, admin, Operator{Name: "alice"}, "left"}); err != nil {
			t.Error(err)
		}
		if list := b.e.Operators().List(); len(list) != 0 {
			t.Errorf("operators %+v", list)
		}
		b.stop()
		var verbs []string
		for id := range int64(len(b.mem.audit)) {
			if row := b.mem.audit[id+1]; row.Target == "alice" && strings.HasPrefix(row.Result, "ok") {
				verbs = append(verbs, row.Verb)
			}
		}
		if got := strings.Join(verbs, " "); got != "operator-add operator-set operator-remove" {
			t.Errorf("audit %q", got)
		}
	})
}
