package api

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var testSecret = bytes.Repeat([]byte{3}, SecretLen)

func wantToken(t *testing.T, tokens *tokens, text string, want error) {
	t.Helper()
	if key, err := tokens.check(text); !errors.Is(err, want) || err == nil && key != "k7q2m5x3" {
		t.Errorf("%s after %s: key %q, %v, want %v", text, time.Since(tokens.start), key, err, want)
	}
}

// A token lives as long as it is used.
func TestTokenLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := newTokens(testSecret)
		text := tokens.issue("k7q2m5x3")
		for range 100 {
			time.Sleep(tokenLife)
			wantToken(t, tokens, text, nil)
		}
		time.Sleep(tokenLife + time.Millisecond)
		wantToken(t, tokens, text, errExpired)
		wantToken(t, tokens, text, errExpired)
		never := tokens.issue("k7q2m5x3")
		time.Sleep(tokenLife + time.Millisecond)
		wantToken(t, tokens, never, errExpired)
	})
}

// Tokens go on after a restart, within bounds.
func TestTokensAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := newTokens(testSecret)
		old := before.issue("k7q2m5x3")
		time.Sleep(tokenRevival - time.Minute)
		recent := before.issue("k7q2m5x3")
		time.Sleep(time.Minute)

		after := newTokens(testSecret)
		time.Sleep(tokenLife)
		wantToken(t, after, old, nil)
		wantToken(t, after, recent, nil)
		time.Sleep(time.Minute)
		wantToken(t, after, recent, nil)

		late := newTokens(testSecret) // the first has been issued too long ago
		wantToken(t, late, old, errExpired)
		wantToken(t, late, recent, nil)
		unused := newTokens(testSecret)
		time.Sleep(tokenLife + time.Second)
		wantToken(t, unused, recent, errExpired)
		wantToken(t, newTokens(bytes.Repeat([]byte{4}, SecretLen)), recent, errToken)
	})
}

// Of very many tokens of a key the ones that are used stay.
func TestTokensAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := newTokens(testSecret)
		time.Sleep(time.Second)
		used := tokens.issue("k7q2m5x3")
		var first string
		for i := range maxLive + 10 {
			time.Sleep(time.Second)
			text := tokens.issue("k7q2m5x3")
			if i == 0 {
				first = text
			}
			wantToken(t, tokens, used, nil)
		}
		wantToken(t, tokens, first, errExpired)
		if n := len(tokens.live["k7q2m5x3"]); n != maxLive {
			t.Errorf("%d are kept in mind", n)
		}
		time.Sleep(tokenLife + time.Minute)
		tokens.issue("another")
		if _, ok := tokens.live["k7q2m5x3"]; ok {
			t.Error("expired ones are kept in mind")
		}
	})
}

func TestTokensThatAreNone(t *testing.T) {
	tokens := newTokens(testSecret)
	text := tokens.issue("k7q2m5x3")
	parts := strings.Split(text, ".")
	for _, bad := range []string{
		"", ".", "..", "...", text + "A", text[:len(text)-1], " " + text, text + "\n", strings.ToUpper(text),
		"k7q2m5x4." + parts[1] + "." + parts[2], parts[0] + ".0" + parts[1] + "." + parts[2], parts[0] + "." + parts[1] + "." + strings.ReplaceAll(parts[2], "-", "+") + "=",
		parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(nil), strings.Repeat("a", 4096),
	} {
		wantToken(t, tokens, bad, errToken)
	}
	wantToken(t, tokens, text, nil)
}

// FuzzToken holds that no text is a token but those that were issued.
func FuzzToken(f *testing.F) {
	tokens := newTokens(testSecret)
	issued := tokens.text(token{"k7q2m5x3", 1_764_400_000}) // the same in each process that fuzzes
	f.Add(issued)
	f.Add(strings.Replace(issued, ".", ".+", 1))
	f.Add("k7q2m5x3.t0.AAAA")
	f.Add(fmt.Sprintf("k7q2m5x3.%d.%s", 1<<62, strings.Repeat("A", 43)))
	f.Fuzz(func(t *testing.T, text string) {
		tok, ok := tokens.parse(text)
		if ok != (text == issued) || ok && tokens.text(tok) != text {
			t.Errorf("%q: %+v, %t", text, tok, ok)
		}
	})
}
