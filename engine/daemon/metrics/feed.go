package metrics

import (
	"errors"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"picloud/engine"
	"picloud/netboot/dhcp"
	"picloud/netboot/tftp"
)

// Observed counts an observation on its way to the engine.
func (m *Metrics) Observed(o engine.Observation) { m.seen.WithLabelValues(kindOf(&o)).Inc() }

var observationKinds = []string{"switch", "dhcp", "tftp", "nfs", "ssh", "space"}

func kindOf(o *engine.Observation) string {
	switch {
	case o.Switch != nil:
		return "switch"
	case o.DHCP != nil:
		return "dhcp"
	case o.TFTP != nil:
		return "tftp"
	case o.NFS != nil:
		return "nfs"
	case o.SSH != nil:
		return "ssh"
	case o.Space != nil:
		return "space"
	}
	return other
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// fromZero makes a counter of one label tell of values before they come: a rate
// over one that appears with its first event would miss it.
func fromZero(c *prometheus.CounterVec, values ...string) {
	for _, v := range values {
		c.WithLabelValues(v)
	}
}

func words[K comparable](m map[K]string) []string { return slices.Collect(maps.Values(m)) }

// other is told of what has no word of its own.
const other = "other"

type dhcpCounters struct{ requests, replies, failures *prometheus.CounterVec }

func newDHCPCounters() dhcpCounters {
	c := dhcpCounters{
		requests: counters("picloud_dhcp_requests_total", "DHCP messages that came, by type.", "type"),
		replies:  counters("picloud_dhcp_replies_total", "DHCP messages that were sent, by type.", "type"),
		failures: counters("picloud_dhcp_failures_total", "DHCP answers that were due and not given, by reason.", "reason"),
	}
	fromZero(c.requests, words(dhcpRequests)...)
	fromZero(c.replies, words(dhcpReplies)...)
	fromZero(c.failures, append(words(dhcpReasons), other)...)
	return c
}

// dhcpRequests are the messages that come; dhcpReplies those that are sent.
var (
	dhcpRequests = map[dhcp.Kind]string{
		dhcp.KindDiscover: "discover", dhcp.KindRequest: "request", dhcp.KindDecline: "decline",
		dhcp.KindRelease: "release", dhcp.KindInform: "inform", dhcp.KindUnknownPi: "unknown_pi",
		dhcp.KindUnknownSegment: "unknown_segment", dhcp.KindIgnored: "ignored",
	}
	dhcpReplies = map[dhcp.Kind]string{dhcp.KindOffer: "offer", dhcp.KindAck: "ack", dhcp.KindNak: "nak"}
)

// dhcpReasons are short words for the reasons of a failure.
var dhcpReasons = map[dhcp.Reason]string{
	dhcp.ReasonReservation: "reservation", dhcp.ReasonTaken: "address_taken", dhcp.ReasonChanged: "changed",
	dhcp.ReasonBusy: "busy", dhcp.ReasonSend: "send",
}

// DHCP counts an event of the DHCP server.
func (m *Metrics) DHCP(e dhcp.Event) {
	n := float64(max(1, e.Count))
	if word, ok := dhcpRequests[e.Kind]; ok {
		m.dhcp.requests.WithLabelValues(word).Add(n)
	} else if word, ok := dhcpReplies[e.Kind]; ok {
		m.dhcp.replies.WithLabelValues(word).Add(n)
	} else if e.Kind == dhcp.KindFailed {
		word, ok := dhcpReasons[e.Reason]
		if !ok {
			word = other
		}
		m.dhcp.failures.WithLabelValues(word).Add(n)
	}
}

type tftpCounters struct {
	requests, errors *prometheus.CounterVec
	bytes            prometheus.Counter
}

func newTFTPCounters() tftpCounters {
	c := tftpCounters{
		requests: counters("picloud_tftp_requests_total", "Requests for boot files, by what became of them.", "result"),
		errors:   counters("picloud_tftp_errors_total", "Requests for boot files that were refused or broke off, by reason.", "reason"),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "picloud_tftp_bytes_total", Help: "Bytes of boot files that Pis have acknowledged.",
		}),
	}
	fromZero(c.requests, words(tftpResults)...)
	for _, r := range tftpReasons {
		fromZero(c.errors, r.word)
	}
	fromZero(c.errors, other)
	return c
}

// tftpResults are the ends of a request. Replaced and ended early are normal.
var tftpResults = map[tftp.Kind]string{
	tftp.Served: "served", tftp.NotFound: "not_found", tftp.EarlyTerminate: "early", tftp.Replaced: "replaced",
	tftp.Refused: "refused", tftp.Failed: "failed",
}

// tftpReasons are short words for causes; the first that fits is told.
var tftpReasons = []struct {
	err  error
	word string
}{
	{tftp.ErrUnknownClient, "unknown_client"},
	{tftp.ErrDenied, "denied"},
	{tftp.ErrBusy, "busy"},
	{tftp.ErrMalformed, "malformed"},
	{tftp.ErrWrite, "write"},
	{tftp.ErrTimeLimit, "time_limit"},
	{tftp.ErrNoAnswer, "no_answer"},
	{tftp.ErrTruncated, "truncated"},
	{tftp.ErrClient, "client"},
	{tftp.ErrStopped, "stopped"},
}

// TFTP counts an event of the TFTP server.
func (m *Metrics) TFTP(e tftp.Event) {
	word, ok := tftpResults[e.Kind]
	if !ok {
		return // a start: its end will be counted
	}
	m.tftp.requests.WithLabelValues(word).Inc()
	m.tftp.bytes.Add(float64(max(0, e.Bytes)))
	if e.Kind == tftp.Refused || e.Kind == tftp.Failed {
		m.tftp.errors.WithLabelValues(tftpReason(e.Err)).Inc()
	}
}

func tftpReason(err error) string {
	for _, r := range tftpReasons {
		if errors.Is(err, r.err) {
			return r.word
		}
	}
	return other
}
