package rootfs

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of authorized keys. sshd itself takes lines of up to 8 KB; an RSA key
// of 16384 bits has about 2.8 KB.
const (
	maxKeys    = 64
	maxKeyLine = 8 << 10
	minRSABits = 2048
)

// keyTypes are the SSH public key types that sshd takes, each with the check
// of what follows the type's name in the blob: RFC 4253, section 6.6 (RSA);
// RFC 5656, section 3.1 (ECDSA); RFC 8709, section 4 (Ed25519); OpenSSH
// PROTOCOL.u2f (sk-*).
var keyTypes = map[string]func(*blob) bool{
	"ssh-ed25519":                        func(b *blob) bool { return len(b.next()) == 32 },
	"ssh-rsa":                            checkRSA,
	"ecdsa-sha2-nistp256":                func(b *blob) bool { return checkEC(b, "nistp256", 65) },
	"ecdsa-sha2-nistp384":                func(b *blob) bool { return checkEC(b, "nistp384", 97) },
	"ecdsa-sha2-nistp521":                func(b *blob) bool { return checkEC(b, "nistp521", 133) },
	"sk-ssh-ed25519@openssh.com":         func(b *blob) bool { return len(b.next()) == 32 && len(b.next()) > 0 },
	"sk-ecdsa-sha2-nistp256@openssh.com": func(b *blob) bool { return checkEC(b, "nistp256", 65) && len(b.next()) > 0 },
}

func checkRSA(b *blob) bool {
	e, n := new(big.Int).SetBytes(b.next()), new(big.Int).SetBytes(b.next())
	return e.BitLen() >= 2 && e.BitLen() <= 64 && e.Bit(0) == 1 && n.BitLen() >= minRSABits
}

// checkEC checks the curve's name and an uncompressed point.
func checkEC(b *blob, curve string, pointLen int) bool {
	name, point := b.next(), b.next()
	return string(name) == curve && len(point) == pointLen && point[0] == 4
}

// blob reads the strings of RFC 4251, section 5.
type blob struct {
	b   []byte
	bad bool
}

func (b *blob) next() []byte {
	if len(b.b) < 4 || uint64(binary.BigEndian.Uint32(b.b)) > uint64(len(b.b)-4) {
		b.bad, b.b = true, nil
		return nil
	}
	n := binary.BigEndian.Uint32(b.b)
	v := b.b[4 : 4+n]
	b.b = b.b[4+n:]
	return v
}

// checkKey returns the line as it is to be written: type, blob and comment
// with one blank between them.
func checkKey(line string) (string, error) {
	line = strings.TrimSpace(line)
	switch {
	case line == "":
		return "", errors.New("empty")
	case len(line) > maxKeyLine:
		return "", fmt.Errorf("longer than %d bytes", maxKeyLine)
	case !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }):
		return "", errors.New("has a line break or another character that cannot be printed")
	}
	kind, rest, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	check := keyTypes[kind]
	if check == nil {
		return "", fmt.Errorf("starts with %.40q: want a key type such as ssh-ed25519, and no options before it", kind)
	}
	encoded, comment, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return "", fmt.Errorf("%s: %w", kind, err)
	}
	b := blob{b: raw}
	if inner := b.next(); string(inner) != kind {
		return "", fmt.Errorf("says %s, but holds %.40q", kind, inner)
	}
	if !check(&b) || b.bad || len(b.b) != 0 {
		return "", fmt.Errorf("%s: not a whole key of this type (RSA needs %d bits)", kind, minRSABits)
	}
	return strings.TrimSpace(strings.Join([]string{kind, encoded, strings.TrimSpace(comment)}, " ")), nil
}
