package webhook

import (
	"errors"
	"strings"
	"testing"
	"time"

	"picloud/engine"
)

// TestSignature has the example of Standard Webhooks' own libraries.
func TestSignature(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	got, err := sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want || err != nil {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	for _, bad := range []string{"", "whsec_", "whsec_???", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_a"} {
		if got, err := sign(bad, "msg_1", time.Unix(0, 0), nil); !errors.Is(err, errSecret) || got != "" || len(bad) > 6 && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %q, %v", bad, got, err)
		}
	}
}

func TestBody(t *testing.T) {
	at := time.Date(2026, time.November, 23, 14, 0, 0, 250_000_000, time.FixedZone("", 3600))
	for want, n := range map[string]engine.Notice{
		`{"type":"server.live","timestamp":"2026-11-23T13:00:00.25Z","data":{"server":"web","account":"acme","text":"SSH answers","task":7}}`: {
			ID: 1, Time: at, Account: "acme", Server: "web", Kind: engine.NoticeLive, Text: "SSH answers", Task: 7,
		},
		`{"type":"server.up","timestamp":"2026-11-23T13:00:00.25Z","data":{"server":"web","text":"a \"b\""}}`: {
			ID: 1, Time: at, Server: "web", Kind: engine.NoticeUp, Text: `a "b"`,
		},
	} {
		if got, err := body(&n); string(got) != want || err != nil {
			t.Errorf("%s, %v\nwant %s", got, err, want)
		}
	}
}
