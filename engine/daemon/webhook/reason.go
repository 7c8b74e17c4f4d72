package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"unicode"
)

// reasons are what a customer is told of errors, by the first that fits. None
// tells an address, a path, or a word of an answer.
var reasons = []struct {
	fits func(error) bool
	text func(error) string
}{
	{isA[*refused], say("its address is not one that webhooks go to")},
	{is(errSecret), say(errSecret.Error())},
	{or(is(errURL), isA[*net.AddrError]), say(errURL.Error())},
	{timedOut, say("no answer in time")},
	{isA[*net.DNSError], say("the name of its host is not found")},
	{isA[*tls.CertificateVerificationError], func(err error) string { return "its certificate is not good: " + certificate(err) }},
	{isA[syscall.Errno], func(err error) string { return "no connection: " + errno(err) }},
	{or(is(io.EOF), is(io.ErrUnexpectedEOF), is(net.ErrClosed)), say("it closed the connection without an answer")},
}

// why is what a customer is told of an error.
func why(err error) string {
	for _, r := range reasons {
		if r.fits(err) {
			return r.text(err)
		}
	}
	return "its answer is not HTTP" // or its handshake not TLS
}

func say(text string) func(error) string { return func(error) string { return text } }

func is(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }

func or(list ...func(error) bool) func(error) bool {
	return func(err error) bool {
		for _, f := range list {
			if f(err) {
				return true
			}
		}
		return false
	}
}

func isA[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func timedOut(err error) bool {
	var e net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &e) && e.Timeout()
}

func certificate(err error) string {
	var e *tls.CertificateVerificationError
	errors.As(err, &e)
	return line(e.Err.Error())
}

func errno(err error) string {
	var e syscall.Errno
	errors.As(err, &e)
	return e.Error()
}

// answered is what a customer is told of a status that is not 2xx.
func answered(status int) string {
	text := strings.TrimSpace(fmt.Sprintf("it answered %d %s", status, http.StatusText(status)))
	if status >= 300 && status < 400 {
		text += ": redirects are not followed"
	}
	return text
}

// bare is an error of net/http without the URL, which may have a secret in it.
func bare(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// line makes text from outside fit for one line.
func line(s string) string {
	const longest = 120
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > longest {
		s = string(r[:longest-1]) + "…"
	}
	return s
}
