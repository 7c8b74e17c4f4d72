package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/net/netutil"
)

// Limits of the server. A client polls every few seconds and sends little; a
// stream of events has limits of its own.
const (
	maxConns  = 2048
	maxHeader = 16 << 10
	// maxRequests bounds the requests at once of one HTTP/2 connection.
	maxRequests = 64
)

// times are how long things may take.
type times struct {
	header, read, write, idle time.Duration // of http.Server
	// stop is how long requests that are being answered may take when the service
	// stops.
	stop time.Duration
	// beat is how often a comment is sent on a stream where there is no event, so
	// that both ends see a connection that has died.
	beat time.Duration
	// slow is how long who listens to a stream may take to make room for what is
	// sent. One that takes longer is dropped, and comes back with Last-Event-ID.
	slow time.Duration
}

var defaultTimes = times{
	header: 10 * time.Second, read: 30 * time.Second, write: 30 * time.Second, idle: time.Minute,
	stop: 5 * time.Second, beat: 15 * time.Second, slow: 10 * time.Second,
}

// ListenConfig is where the API is served.
type ListenConfig struct {
	Addr netip.AddrPort
	// Cert and Key are files in PEM, read again when they change; "" = no TLS,
	// which only a loopback address may have.
	Cert, Key string
	Log       *slog.Logger // nil discards
}

// ErrPlain means that secrets would go over a network in the clear.
var ErrPlain = errors.New("without a certificate the API is served on a loopback address only")

// Listener is a bound socket of the API.
type Listener struct {
	net.Listener
	certs *certificates // nil: no TLS
}

// Listen binds the socket, and reads the certificate.
func Listen(ctx context.Context, cfg ListenConfig) (*Listener, error) {
	l := &Listener{}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Cert != "" || cfg.Key != "" {
		l.certs = &certificates{cert: cfg.Cert, key: cfg.Key, log: cfg.Log}
		if err := l.certs.load(); err != nil {
			return nil, fmt.Errorf("api: certificate: %w", err)
		}
	} else if !cfg.Addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("api: listen on %s: %w (give certificate files, or put a proxy before it)", cfg.Addr, ErrPlain)
	}
	var lc net.ListenConfig
	tcp, err := lc.Listen(ctx, "tcp", cfg.Addr.String())
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	l.Listener = netutil.LimitListener(&perSource{Listener: tcp, open: map[netip.Prefix]int{}}, maxConns)
	return l, nil
}

// URL is where a client on this host reaches the API.
func (l *Listener) URL() string {
	if l.certs != nil {
		return "https://" + l.Addr().String()
	}
	return "http://" + l.Addr().String()
}

// Serve answers on l until ctx ends, and returns nil when the requests that were
// being answered are. It closes l.
func (a *API) Serve(ctx context.Context, l *Listener) error {
	server := &http.Server{
		Handler: a.Handler(), ReadHeaderTimeout: a.times.header, ReadTimeout: a.times.read, WriteTimeout: a.times.write,
		IdleTimeout: a.times.idle, MaxHeaderBytes: maxHeader,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: maxRequests},
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	release := context.AfterFunc(ctx, func() {
		defer close(stopped)
		a.streams.end()
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.times.stop)
		defer cancel()
		if server.Shutdown(limit) != nil {
			_ = server.Close()
		}
	})
	var err error
	if l.certs == nil {
		err = server.Serve(l)
	} else {
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: l.certs.get}
		err = server.ServeTLS(l, "", "")
	}
	if release() {
		a.streams.end()
		_ = server.Close()
		return fmt.Errorf("api: serve: %w", err)
	}
	<-stopped
	return nil
}
