package api

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certLook is the least time between two looks at the files.
const certLook = time.Second

// certificates are a certificate and its key in files, which somebody renews
// while the service runs. A pair that does not fit, as while one file is new and
// the other not yet, changes nothing.
type certificates struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	now    *tls.Certificate
	seen   [2]fs.FileInfo // the files that were read last, whatever came of it
	looked time.Time
	said   string // the last error
}

// get is tls.Config.GetCertificate: files that have changed are read first.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < certLook {
		return c.now, nil
	}
	c.looked = time.Now()
	seen, err := c.stat()
	if err == nil && !changed(c.seen, seen) {
		return c.now, nil
	}
	if err == nil {
		err = c.read(seen)
	}
	c.tell(err)
	return c.now, nil
}

func (c *certificates) tell(err error) {
	switch {
	case err == nil:
		c.log.Info("the API has a new certificate", "file", c.cert, "until", c.now.Leaf.NotAfter)
		c.said = ""
	case err.Error() != c.said:
		c.log.Error("the API goes on with the certificate that it has", "err", err)
		c.said = err.Error()
	}
}

// load reads the files for the first time.
func (c *certificates) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen, err := c.stat()
	if err != nil {
		return err
	}
	return c.read(seen)
}

func (c *certificates) stat() (seen [2]fs.FileInfo, err error) {
	for i, path := range []string{c.cert, c.key} {
		if seen[i], err = os.Stat(path); err != nil {
			return seen, err
		}
	}
	return seen, nil
}

// changed tells whether a file is another one, or was written to.
func changed(a, b [2]fs.FileInfo) bool {
	for i := range a {
		if a[i] == nil || !os.SameFile(a[i], b[i]) || !a[i].ModTime().Equal(b[i].ModTime()) || a[i].Size() != b[i].Size() {
			return true
		}
	}
	return false
}

func (c *certificates) read(seen [2]fs.FileInfo) error {
	c.seen = seen
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", c.cert, c.key, err)
	}
	c.now = &pair
	return nil
}
