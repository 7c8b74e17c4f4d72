package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// tokenLife is how long a token lives after its last use.
	tokenLife = 5 * time.Minute
	// tokenRevival bounds which tokens go on after a restart: those issued no
	// longer before it. Their last uses are forgotten, so that each counts as used
	// at the start; one that had run out before lives again, for tokenLife at most.
	tokenRevival = time.Hour
	// maxLive bounds the tokens of a key that are kept in mind. The one whose last
	// use is longest ago goes first.
	maxLive = 256
)

var (
	errToken   = errors.New("no valid token")
	errExpired = errors.New("the token has expired")
)

// token is what a bearer token says: whose it is and when it was issued, to the
// second. Its text has a MAC behind it; nothing of it is a secret but the whole.
type token struct {
	key    string // ID of the API key
	issued int64  // Unix seconds
}

// keyID is what an API key's ID looks like.
var keyID = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

const maxToken = 128

// tokens issues bearer tokens and knows which live. Its methods may be called
// by many goroutines.
type tokens struct {
	secret []byte
	start  time.Time

	mu    sync.Mutex
	live  map[string]map[int64]time.Time // by key and issue: the last use
	swept time.Time
}

func newTokens(secret []byte) *tokens {
	now := time.Now()
	return &tokens{secret: secret, start: now, live: map[string]map[int64]time.Time{}, swept: now}
}

// issue makes a token of a key.
func (t *tokens) issue(key string) string {
	now := time.Now()
	tok := token{key, now.Unix()}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.touch(tok, now)
	return t.text(tok)
}

// check reads a token and takes note of its use. errToken: it is none of ours;
// errExpired: it was one.
func (t *tokens) check(text string) (key string, err error) {
	tok, ok := t.parse(text)
	if !ok {
		return "", errToken
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	used, live := t.live[tok.key][tok.issued]
	if !live {
		used, live = t.revived(tok)
	}
	if !live || now.Sub(used) > tokenLife {
		return "", errExpired
	}
	t.touch(tok, now)
	return tok.key, nil
}

// revived tells of a token that this process has not seen whether it is taken as
// used when the process started.
func (t *tokens) revived(tok token) (used time.Time, ok bool) {
	before := t.start.Unix() - tok.issued
	return t.start, before >= 0 && before <= int64(tokenRevival/time.Second)
}

func (t *tokens) touch(tok token, now time.Time) {
	t.sweep(now)
	uses := t.live[tok.key]
	if uses == nil {
		uses = map[int64]time.Time{}
		t.live[tok.key] = uses
	}
	uses[tok.issued] = now
	for len(uses) > maxLive {
		oldest := tok.issued
		for issued, used := range uses {
			if used.Before(uses[oldest]) {
				oldest = issued
			}
		}
		delete(uses, oldest)
	}
}

// sweep forgets what has expired, once a minute.
func (t *tokens) sweep(now time.Time) {
	if now.Sub(t.swept) < time.Minute {
		return
	}
	t.swept = now
	for key, uses := range t.live {
		for issued, used := range uses {
			if now.Sub(used) > tokenLife {
				delete(uses, issued)
			}
		}
		if len(uses) == 0 {
			delete(t.live, key)
		}
	}
}

// text is the token as clients have it: key.issued.MAC.
func (t *tokens) text(tok token) string {
	said := tok.key + "." + strconv.FormatInt(tok.issued, 36)
	return said + "." + base64.RawURLEncoding.EncodeToString(t.mac(said))
}

func (t *tokens) mac(said string) []byte {
	h := hmac.New(sha256.New, t.secret)
	h.Write([]byte("picloud token\n" + said))
	return h.Sum(nil)
}

// parse reads a token that text wrote.
func (t *tokens) parse(text string) (token, bool) {
	at := strings.LastIndexByte(text, '.')
	if len(text) > maxToken || at < 0 || strings.ContainsAny(text, "\r\n") { // which base64 passes over
		return token{}, false
	}
	said := text[:at]
	mac, err := base64.RawURLEncoding.Strict().DecodeString(text[at+1:])
	if err != nil || !hmac.Equal(mac, t.mac(said)) {
		return token{}, false
	}
	key, stamp, _ := strings.Cut(said, ".")
	issued, err := strconv.ParseInt(stamp, 36, 64)
	return token{key, issued}, err == nil && keyID.MatchString(key)
}
