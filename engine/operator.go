package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Operator is one of the staff: somebody who may see the rack or act on it.
type Operator struct {
	Name  string
	Role  Role
	Keys  []OperatorKey
	Added time.Time
}

// OperatorKey is an SSH public key of an operator.
type OperatorKey struct {
	Line        string // type, base64 and comment, as in a .pub file
	Fingerprint string // SHA256:..., as ssh shows it
}

// ErrKey means that a text is not one SSH public key.
var ErrKey = errors.New("not an SSH public key (the one line of a .pub file is wanted)")

// keyTypes are those that OpenSSH takes today (ssh-keygen(1)); DSA is not.
var keyTypes = []string{
	"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
	"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
}

// ParseOperatorKey reads the line of a .pub file: no options, one key, and a
// blob that is of the type that the line says (RFC 4253, section 6.6).
func ParseOperatorKey(line string) (OperatorKey, error) {
	const longest = 8192 // sshd's own limit
	line = strings.TrimSpace(line)
	words := strings.SplitN(line, " ", 3)
	if len(line) > longest || strings.ContainsFunc(line, unprintable) || len(words) < 2 {
		return OperatorKey{}, ErrKey
	}
	blob, err := base64.StdEncoding.DecodeString(words[1])
	if err != nil || !slices.Contains(keyTypes, words[0]) {
		return OperatorKey{}, ErrKey
	}
	if first, ok := blobType(blob); !ok || first != words[0] {
		return OperatorKey{}, fmt.Errorf("%w: it is cut off, or not of the type it says", ErrKey)
	}
	sum := sha256.Sum256(blob)
	return OperatorKey{Line: line, Fingerprint: "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])}, nil
}

// ParseKeys reads the keys that may log in to a server: one a line, the lines
// ended by LF or CR LF (the hosted-Pi API's form), each as ParseOperatorKey has
// it. Empty lines and keys that came before are left out.
func ParseKeys(text string) ([]string, error) {
	var keys []string
	count, seen := 0, map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if strings.TrimSpace(line) == "" {
			continue
		}
		count++
		k, err := ParseOperatorKey(line)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", count, err)
		}
		if !seen[k.Fingerprint] {
			seen[k.Fingerprint] = true
			keys = append(keys, k.Line)
		}
		if len(keys) > maxLoginKeys {
			return nil, fmt.Errorf("%w: more than %d SSH keys", ErrBadOrder, maxLoginKeys)
		}
	}
	return keys, nil
}

// blobType reads a key's blob: strings, each behind its length, and nothing
// after the last (RFC 4251, section 5). The first is the type.
func blobType(blob []byte) (first string, ok bool) {
	const fewest = 2
	count := 0
	for ; len(blob) > 0; count++ {
		if len(blob) < 4 {
			return "", false
		}
		n := uint64(binary.BigEndian.Uint32(blob))
		blob = blob[4:]
		if n > uint64(len(blob)) {
			return "", false
		}
		if count == 0 {
			first = string(blob[:n])
		}
		blob = blob[n:]
	}
	return first, count >= fewest
}

// Operators are the operators at one moment, immutable.
type Operators struct {
	byName map[string]Operator
	byKey  map[string]string
}

// ByName finds an operator.
func (o *Operators) ByName(name string) (Operator, bool) {
	v, ok := o.byName[name]
	return v, ok
}

// ByKey finds the operator who has the key of a fingerprint.
func (o *Operators) ByKey(fingerprint string) (Operator, bool) {
	name, ok := o.byKey[fingerprint]
	if !ok {
		return Operator{}, false
	}
	return o.ByName(name)
}

// List returns the operators by name.
func (o *Operators) List() []Operator {
	return slices.SortedFunc(maps.Values(o.byName), func(a, b Operator) int { return cmp.Compare(a.Name, b.Name) })
}

func newOperators(list []Operator) *Operators {
	o := &Operators{byName: make(map[string]Operator, len(list)), byKey: map[string]string{}}
	for _, v := range list {
		o.byName[v.Name] = v
		for _, k := range v.Keys {
			o.byKey[k.Fingerprint] = v.Name
		}
	}
	return o
}

// loadOperators takes the stored lines of keys. One that is no key any more,
// for the file may have been edited, lets nobody in.
func loadOperators(list []Operator) *Operators {
	for i := range list {
		var keys []OperatorKey
		for _, k := range list[i].Keys {
			if parsed, err := ParseOperatorKey(k.Line); err == nil {
				keys = append(keys, parsed)
			}
		}
		list[i].Keys = keys
	}
	return newOperators(list)
}

// OperatorVerb is what can be done with operators.
type OperatorVerb string

// The verbs: a new one, another role or other keys, and none any more. Only an
// admin may.
const (
	OperatorAdd    OperatorVerb = "operator-add"
	OperatorSet    OperatorVerb = "operator-set"
	OperatorRemove OperatorVerb = "operator-remove"
)

// OperatorCommand is a verb with the operator it is about, whole.
type OperatorCommand struct {
	Verb     OperatorVerb
	Actor    Actor
	Operator Operator // Added is the engine's to fill in
	Reason   string
}

// Errors of a command on operators.
var (
	ErrNoSuchOperator = errors.New("no such operator")
	ErrOperatorExists = errors.New("there is such an operator already")
	ErrKeyTaken       = errors.New("the key is another operator's")
	ErrOperatorName   = errors.New("an operator's name has 1 to 32 small letters, digits, dots, hyphens or underscores, a letter first")
)

var operatorName = regexp.MustCompile(`^[a-z][a-z0-9._-]{0,31}$`)

// Operators returns the operators as they are now.
func (e *Engine) Operators() *Operators { return e.operators.Load() }

// ChangeOperators carries out a command on operators: written down, with its
// audit row, or not done.
func (e *Engine) ChangeOperators(ctx context.Context, cmd OperatorCommand) error {
	_, err := ask(ctx, e, e.staff, cmd)
	return err
}

func (r *rack) changeOperators(cmd OperatorCommand) error {
	if err := r.checkOperator(&cmd); err != nil {
		return fmt.Errorf("%s %s: %w", cmd.Verb, printable(cmd.Operator.Name), err)
	}
	before := r.operators
	list := slices.DeleteFunc(before.List(), func(o Operator) bool { return o.Name == cmd.Operator.Name })
	audit := r.openAuditOf(VerbName(cmd.Verb), Command{Actor: cmd.Actor, Reason: cmd.Reason}, cmd.Operator.Name, 0)
	accounts := r.accounts
	if cmd.Verb == OperatorRemove {
		r.changes.RemoveOperators = append(r.changes.RemoveOperators, cmd.Operator.Name)
		accounts = r.revokeKeysOf(cmd.Operator.Name)
	} else {
		list = append(list, cmd.Operator)
		r.changes.Operators = append(r.changes.Operators, cmd.Operator)
	}
	if err := r.flush(context.Background()); err != nil {
		// Whoever asked was told that nothing is done: nothing may be done when
		// the store recovers.
		r.changes.Operators = slices.DeleteFunc(r.changes.Operators, func(o Operator) bool { return o.Name == cmd.Operator.Name })
		r.changes.RemoveOperators = slices.DeleteFunc(r.changes.RemoveOperators, func(n string) bool { return n == cmd.Operator.Name })
		r.changes.APIKeys = slices.DeleteFunc(r.changes.APIKeys, func(k APIKey) bool { return k.Operator == cmd.Operator.Name })
		r.closeAudit(audit, "failed: it could not be written down")
		return fmt.Errorf("%s %s: %w: nothing is done that could not be written down", cmd.Verb, cmd.Operator.Name, err)
	}
	r.closeAudit(audit, "ok: "+describeOperator(cmd))
	r.logf(cmd.Actor.Name, "", 0, "%s %s", cmd.Verb, cmd.Operator.Name)
	r.operators = newOperators(list)
	r.e.operators.Store(r.operators)
	r.setAccounts(accounts)
	if r.e.cfg.Staff != nil {
		r.e.cfg.Staff()
	}
	return nil
}

// revokeKeysOf takes an operator's API keys: somebody who gets the name later is
// somebody else.
func (r *rack) revokeKeysOf(operator string) *Accounts {
	next := r.accounts.clone()
	for id, k := range next.keys {
		if k.Operator == operator && k.Revoked.IsZero() {
			k.Revoked = time.Now()
			next.keys[id] = k
			r.changes.APIKeys = append(r.changes.APIKeys, k)
		}
	}
	return next
}

func describeOperator(cmd OperatorCommand) string {
	if cmd.Verb == OperatorRemove {
		return "removed"
	}
	text := cmd.Operator.Role.String()
	for _, k := range cmd.Operator.Keys {
		text += " " + k.Fingerprint
	}
	return text
}

// checkOperator refuses what must not be, and fills in what is the engine's.
func (r *rack) checkOperator(cmd *OperatorCommand) error {
	if cmd.Actor.Role < RoleAdmin {
		return fmt.Errorf("%w %s: you are %s, and it needs %s", ErrNotAllowed, cmd.Verb, cmd.Actor.Role, RoleAdmin)
	}
	if err := r.flush(context.Background()); err != nil {
		return fmt.Errorf("%w: nothing is done that could not be written down", err)
	}
	have, ok := r.operators.ByName(cmd.Operator.Name)
	_, customer := r.accounts.ByName(cmd.Operator.Name)
	switch {
	case !operatorName.MatchString(cmd.Operator.Name):
		return ErrOperatorName
	case cmd.Verb == OperatorAdd && ok:
		return ErrOperatorExists
	case cmd.Verb == OperatorAdd && customer: // who did what is written down by name
		return ErrAccountExists
	case cmd.Verb != OperatorAdd && !ok:
		return ErrNoSuchOperator
	case cmd.Verb == OperatorRemove:
		return nil
	case cmd.Operator.Role > RoleAdmin:
		return fmt.Errorf("there is no role %d", cmd.Operator.Role)
	}
	cmd.Operator.Added = time.Now()
	if ok {
		cmd.Operator.Added = have.Added
	}
	return r.checkKeys(cmd)
}

func (r *rack) checkKeys(cmd *OperatorCommand) error {
	keys := make([]OperatorKey, 0, len(cmd.Operator.Keys))
	for _, k := range cmd.Operator.Keys {
		parsed, err := ParseOperatorKey(k.Line)
		if err != nil {
			return err
		}
		if owner, ok := r.operators.ByKey(parsed.Fingerprint); ok && owner.Name != cmd.Operator.Name {
			return fmt.Errorf("%w: %s has %s", ErrKeyTaken, owner.Name, parsed.Fingerprint)
		}
		if !slices.ContainsFunc(keys, func(o OperatorKey) bool { return o.Fingerprint == parsed.Fingerprint }) {
			keys = append(keys, parsed)
		}
	}
	cmd.Operator.Keys = keys
	return nil
}
