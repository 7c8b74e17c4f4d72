package api

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair makes a certificate of its own and its key, in PEM.
func pair(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

type pairFiles struct {
	t         *testing.T
	cert, key string
}

// put replaces a file as certificate programs do, or writes over it.
func (f *pairFiles) put(path string, b []byte, whole bool) {
	f.t.Helper()
	at := path
	if whole {
		at += ".new"
	}
	if err := os.WriteFile(at, b, 0o600); err != nil {
		f.t.Fatal(err)
	}
	if whole {
		if err := os.Rename(at, path); err != nil {
			f.t.Fatal(err)
		}
	}
}

// A new certificate is taken at the next look, a broken one never, and that is
// said once.
func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	f := &pairFiles{t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	oneCert, oneKey := pair(t, "one")
	twoCert, twoKey := pair(t, "two")
	f.put(f.cert, oneCert, true)
	f.put(f.key, oneKey, true)
	var log bytes.Buffer
	c := &certificates{cert: f.cert, key: f.key, log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := c.load(); err != nil {
		t.Fatal(err)
	}
	shows := func(when, want string) {
		t.Helper()
		c.looked = time.Time{} // the next look is due
		got, err := c.get(nil)
		if err != nil || got.Leaf.Subject.CommonName != want {
			t.Errorf("%s: %v, %v, want %s", when, got.Leaf.Subject, err, want)
		}
	}
	shows("at first", "one")
	f.put(f.cert, twoCert, true)
	shows("while the key is the old one", "one")
	shows("still", "one")
	f.put(f.key, twoKey, true)
	shows("when both are new", "two")
	f.put(f.cert, []byte("broken"), false)
	shows("broken", "two")
	if err := os.Remove(f.key); err != nil {
		t.Fatal(err)
	}
	shows("gone", "two")
	shows("still gone", "two")
	f.put(f.cert, oneCert, false)
	f.put(f.key, oneKey, false)
	shows("mended", "one")
	if said := log.String(); strings.Count(said, "level=ERROR") != 3 || strings.Count(said, "new certificate") != 2 {
		t.Errorf("the log:\n%s", said)
	}
}

func TestListenWantsACertificate(t *testing.T) {
	dir := t.TempDir()
	f := &pairFiles{t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	cert, _ := pair(t, "one")
	_, key := pair(t, "two")
	f.put(f.cert, cert, true)
	f.put(f.key, key, true)
	anywhere := netip.MustParseAddrPort("0.0.0.0:0")
	if _, err := Listen(t.Context(), ListenConfig{Addr: anywhere}); !errors.Is(err, ErrPlain) {
		t.Errorf("without one: %v", err)
	}
	for _, cfg := range []ListenConfig{{Addr: anywhere, Cert: f.cert, Key: f.key}, {Addr: anywhere, Cert: f.cert}, {Addr: anywhere, Cert: "/none", Key: "/none"}} {
		if l, err := Listen(t.Context(), cfg); err == nil {
			t.Errorf("%+v: %s", cfg, l.URL())
		}
	}
}

// ServePair has a listener with a certificate that its client trusts.
func ServePair(t *testing.T) (ListenConfig, *tls.Config) {
	t.Helper()
	dir := t.TempDir()
	f := &pairFiles{t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	cert, key := pair(t, "api.test")
	f.put(f.cert, cert, true)
	f.put(f.key, key, true)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return ListenConfig{Addr: netip.MustParseAddrPort("127.0.0.1:0"), Cert: f.cert, Key: f.key}, &tls.Config{RootCAs: roots, ServerName: "api.test"}
}
