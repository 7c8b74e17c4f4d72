package netbootable

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"picloud/netboot/rootfs/internal/edit"
)

// HostKey is the public half of a key by which a server proves who it is.
type HostKey struct {
	Type        string // ssh-ed25519, ecdsa-sha2-nistp256
	Fingerprint string // SHA256:..., as ssh shows it
	Public      string // the line of a known_hosts file behind the name
}

// keyKinds are the keys that are made. RSA is left out: every client since 2014
// knows one of these, and an RSA key takes a second to make.
var keyKinds = []struct {
	file   string
	public func(private []byte) ([]byte, bool)
	make   func(r io.Reader, comment string) ([]byte, error)
}{
	{"etc/ssh/ssh_host_ed25519_key", publicEd25519, makeEd25519},
	{"etc/ssh/ssh_host_ecdsa_key", publicECDSA, makeECDSA},
}

const maxKeyFile = 16 << 10

// hostKeys makes keys, or removes those of the image.
func hostKeys(j *job) error {
	if !j.o.HostKeys {
		for _, n := range edit.Names(j.root, "etc/ssh") {
			if strings.HasPrefix(n, "ssh_host_") && strings.Contains(n, "_key") {
				if err := j.remove(path.Join("etc/ssh", n)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, kind := range keyKinds {
		private := edit.Read(j.root, kind.file, maxKeyFile)
		public, ok := kind.public(private)
		if !ok {
			var err error
			if private, err = kind.make(rand.Reader, j.o.Comment); err != nil {
				return err
			}
			if public, ok = kind.public(private); !ok {
				return errors.New("a key that was just made cannot be read")
			}
		}
		if err := j.write(kind.file, 0o600, string(private)); err != nil {
			return err
		}
		k := newHostKey(public)
		if err := j.write(kind.file+".pub", 0o644, strings.TrimSpace(k.Public+" "+j.o.Comment)+"\n"); err != nil {
			return err
		}
		j.HostKeys = append(j.HostKeys, k)
	}
	return nil
}

// ErrInvalidHostKey means that a file holds no whole key of a kind that this
// package makes.
var ErrInvalidHostKey = errors.New("not a host key: want an unencrypted Ed25519 key of OpenSSH, as NewHostKey makes them")

// NewHostKey makes an Ed25519 key for a server that lives elsewhere than in a
// root, such as the rescue system: the private half as a file of OpenSSH, with
// the comment in it. Errors: [ErrInvalidOption] for the comment.
func NewHostKey(comment string) (private []byte, public HostKey, err error) {
	if !commentForm.MatchString(comment) {
		return nil, HostKey{}, fmt.Errorf("netbootable: new host key: %w: comment %.150q", ErrInvalidOption, comment)
	}
	if private, err = makeEd25519(rand.Reader, comment); err != nil {
		return nil, HostKey{}, fmt.Errorf("netbootable: new host key: %w", err)
	}
	public, err = ParseHostKey(private)
	return private, public, err
}

// ParseHostKey returns the public half of a key of [NewHostKey], having checked
// that it is one. Errors: [ErrInvalidHostKey].
func ParseHostKey(private []byte) (HostKey, error) {
	if len(private) > maxKeyFile {
		return HostKey{}, fmt.Errorf("netbootable: parse host key: %d bytes: %w", len(private), ErrInvalidHostKey)
	}
	public, ok := publicEd25519(private)
	if !ok {
		return HostKey{}, fmt.Errorf("netbootable: parse host key: %w", ErrInvalidHostKey)
	}
	return newHostKey(public), nil
}

// newHostKey names a public key in the form of RFC 4253, section 6.6.
func newHostKey(blob []byte) HostKey {
	kind, _, _ := cutString(blob)
	sum := sha256.Sum256(blob)
	return HostKey{
		Type:        string(kind),
		Fingerprint: "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:]),
		Public:      string(kind) + " " + base64.StdEncoding.EncodeToString(blob),
	}
}

// sshStrings writes strings as in RFC 4251, section 5.
func sshStrings(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

func cutString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	return b[4 : 4+n], b[4+n:], true
}

const (
	opensshType  = "OPENSSH PRIVATE KEY"
	opensshMagic = "openssh-key-v1\x00"
	ed25519Name  = "ssh-ed25519"
)

// makeEd25519 makes a key in OpenSSH's own format (OpenSSH, PROTOCOL.key),
// without a passphrase.
func makeEd25519(r io.Reader, comment string) ([]byte, error) {
	public, private, err := ed25519.GenerateKey(r)
	if err != nil {
		return nil, err
	}
	check := make([]byte, 4)
	if _, err := io.ReadFull(r, check); err != nil {
		return nil, err
	}
	secret := append(bytes.Repeat(check, 2), sshStrings([]byte(ed25519Name), public, private, []byte(comment))...)
	for i := byte(1); len(secret)%8 != 0; i++ {
		secret = append(secret, i)
	}
	b := append([]byte(opensshMagic), sshStrings([]byte("none"), []byte("none"), nil)...)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = append(b, sshStrings(sshStrings([]byte(ed25519Name), public), secret)...)
	return pem.EncodeToMemory(&pem.Block{Type: opensshType, Bytes: b}), nil
}

// publicEd25519 reads the public half out of such a file, and checks that the
// secret half is its own.
func publicEd25519(file []byte) ([]byte, bool) {
	block, _ := pem.Decode(file)
	if block == nil || block.Type != opensshType {
		return nil, false
	}
	head := append([]byte(opensshMagic), sshStrings([]byte("none"), []byte("none"), nil)...)
	b, ok := bytes.CutPrefix(block.Bytes, binary.BigEndian.AppendUint32(head, 1))
	if !ok {
		return nil, false
	}
	public, b, ok1 := cutString(b)
	secret, _, ok2 := cutString(b)
	if !ok1 || !ok2 || len(secret) < 8 || !bytes.Equal(secret[:4], secret[4:8]) {
		return nil, false
	}
	_, rest, ok1 := cutString(secret[8:])
	point, rest, ok2 := cutString(rest)
	private, _, ok3 := cutString(rest)
	if !ok1 || !ok2 || !ok3 || len(private) != ed25519.PrivateKeySize ||
		!bytes.Equal(ed25519.NewKeyFromSeed(private[:32]), private) || !bytes.Equal(private[32:], point) ||
		!bytes.Equal(public, sshStrings([]byte(ed25519Name), point)) {
		return nil, false
	}
	return public, true
}

const ecType = "EC PRIVATE KEY"

// makeECDSA makes a key on P-256 in the form of RFC 5915, which sshd reads.
func makeECDSA(r io.Reader, _ string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), r)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: ecType, Bytes: der}), nil
}

func publicECDSA(file []byte) ([]byte, bool) {
	block, _ := pem.Decode(file)
	if block == nil || block.Type != ecType {
		return nil, false
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil || key.Curve != elliptic.P256() {
		return nil, false
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, false
	}
	return sshStrings([]byte("ecdsa-sha2-nistp256"), []byte("nistp256"), point), true
}
