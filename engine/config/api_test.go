package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// keyPair makes a certificate and its key, as PEM.
func keyPair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	what := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"api.example.org"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, what, what, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

func TestLoadCertificate(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := keyPair(t)
	_, other := keyPair(t)
	put("sw1.secret", "community = \"public\"\n", 0o640)
	put("crt", cert, 0o644)
	put("key", key, 0o640)
	put("other", other, 0o640)
	put("open", key, 0o644)
	put("empty", "", 0o640)
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	const pair = "a PEM file of the certificate and those that it is signed by"
	for _, tt := range []struct{ name, cert, key, want string }{
		{"good", "crt", "key", ""},
		{"none of them", "none", "nil", `
RACK:17:8: api.cert: DIR/none: open: no such file or directory
  try: ` + pair + `
RACK:18:7: api.key: DIR/nil: open: no such file or directory
  try: write it, with mode 640`},
		{"open key", "crt", "open", `
RACK:18:7: api.key: DIR/open: everyone may read or write it (mode 0644)
  try: chmod 640 DIR/open`},
		{"another's key", "crt", "other", `
RACK:17:8: api.cert: DIR/crt with DIR/other: tls: private key does not match public key
  try: two PEM files that belong together`},
		{"no certificate in it", "empty", "key", `
RACK:17:8: api.cert: DIR/empty with DIR/key: tls: failed to find any PEM data in certificate input
  try: two PEM files that belong together`},
		{"a pipe", "pipe", "key", `
RACK:17:8: api.cert: DIR/pipe: is not a file
  try: ` + pair},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.ReplaceAll(small, "/etc/picloud/sw1.secret", filepath.Join(dir, "sw1.secret")) +
				"[api]\nlisten = \"0.0.0.0:8443\"\ncert = \"" + filepath.Join(dir, tt.cert) + "\"\nkey = \"" + filepath.Join(dir, tt.key) + "\"\n"
			path := write(t, "rack.toml", text, 0o644)
			c, found := Load(path, known)
			if (c == nil) != (tt.want != "") {
				t.Errorf("Config: %t", c != nil)
			}
			got := strings.NewReplacer(path, "RACK", dir, "DIR").Replace(printed(found))
			if got != strings.TrimSpace(tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if strings.Contains(got, strings.Fields(key)[3]) {
				t.Error("the key is in a message")
			}
		})
	}
}

// Whether a restart is due is told by every field.
func TestAPIEqual(t *testing.T) {
	whole := mustParse(t, full).API
	if !whole.Equal(mustParse(t, full).API) {
		t.Error("the same is not the same")
	}
	for _, f := range apiTable().fields {
		c := mustParse(t, full)
		clearField(f.ref(&c.API))
		if whole.Equal(c.API) {
			t.Errorf("without %s it is the same", f.key)
		}
	}
}

// clearField sets what value points to to its zero.
func clearField(value any) { reflect.ValueOf(value).Elem().SetZero() }
