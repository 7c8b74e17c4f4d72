package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"picloud/engine"
)

// Once is an input by which a client may send a request again without its being
// done twice.
type Once struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"128" pattern:"^[!-~]+$" patternDescription:"printable ASCII without spaces" doc:"Your own name for this request: sent again with it within a day, it is the same one, with the same answer."`
}

// once names a command, by the path and what was read of the body: two bodies
// that say the same in other words are the same.
func (in *Once) once(method, path string, body any) engine.Once {
	if in.IdempotencyKey == "" {
		return engine.Once{}
	}
	said, err := json.Marshal(body)
	if err != nil {
		panic(err) // a body that was read from JSON
	}
	sum := sha256.Sum256([]byte(method + " " + path + "\n" + string(said)))
	return engine.Once{Key: in.IdempotencyKey, Digest: hex.EncodeToString(sum[:])}
}
