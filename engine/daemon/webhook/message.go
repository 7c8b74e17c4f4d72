package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"picloud/engine"
)

// Message is a notice as it is sent.
type Message struct {
	Type      engine.NoticeKind `json:"type" doc:"such as server.live"`
	Timestamp time.Time         `json:"timestamp" doc:"when it happened"`
	Data      Data              `json:"data"`
}

// Data is what a notice is about.
type Data struct {
	Server  string `json:"server"`
	Account string `json:"account,omitempty"`
	Text    string `json:"text" doc:"what happened, in one sentence"`
	Task    int64  `json:"task,omitempty" doc:"of the queue that it belongs to"`
}

// MessageOf is a notice as it is sent.
func MessageOf(n *engine.Notice) Message {
	return Message{n.Kind, n.Time.UTC(), Data{n.Server, n.Account, n.Text, n.Task}}
}

// MessageID is the webhook-id of a notice.
func MessageID(n *engine.Notice) string { return "msg_" + strconv.FormatInt(n.ID, 10) }

// secretPrefix is before the base64 of a secret, by Standard Webhooks.
const secretPrefix = "whsec_"

var errSecret = errors.New("its secret cannot be used")

// sign returns the webhook-signature.
func sign(secret, id string, at time.Time, body []byte) (string, error) {
	text, ok := strings.CutPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !ok || len(key) == 0 {
		return "", errSecret // never with the text
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.", id, at.Unix())
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

func body(n *engine.Notice) ([]byte, error) {
	b, err := json.Marshal(MessageOf(n))
	if err != nil {
		return nil, fmt.Errorf("encode notice %d: %w", n.ID, err)
	}
	return b, nil
}
