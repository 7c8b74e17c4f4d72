package config

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// API sets the HTTP API that customers order by.
type API struct {
	Listen netip.AddrPort // TCP address; zero = there is no API
	Cert   string         // file of the certificate and those it is signed by, PEM
	Key    string         // file of its key, PEM
	Base   string         // path of the calls that hosted-Pi clients know
	URL    string         // what customers reach it by, "" = as they asked
	// PrivateWebhooks are networks of other than public addresses that webhooks
	// may be at.
	PrivateWebhooks []netip.Prefix
	Location        string // of the rack, in short
	Domain          string // servers' names are below it
}

// NativePath is where picloud's own calls are, beside API.Base.
const NativePath = "/v1"

func apiTable() table {
	return single("api", "The HTTP API that customers order by.", func(c *Config) *API { return &c.API },
		field{key: "listen", doc: "TCP address; not set: there is none. Without a certificate it has to be a\nloopback address, with a proxy in front of it.", example: `"0.0.0.0:8443"`,
			ref: ref(func(a *API) any { return &a.Listen }), check: on(listenAddress)},
		field{key: "cert", doc: "PEM file of the certificate and those that it is signed by, and of its key, which\nnot everyone may read (chmod 640). They are read again when they change.", example: `"/etc/picloud/api.crt"`,
			ref: ref(func(a *API) any { return &a.Cert }), check: on(cleanPath)},
		field{key: "key", example: `"/etc/picloud/api.key"`,
			ref: ref(func(a *API) any { return &a.Key }), check: on(cleanPath)},
		field{key: "base", doc: "Path of the calls that clients of hosted Pis know. picloud's own are below " + NativePath + ".", required: true,
			ref: ref(func(a *API) any { return &a.Base }), check: on(basePath)},
		field{key: "url", doc: "What customers reach it by, if not by the address that they ask: for a proxy.", example: `"https://api.example.org"`,
			ref: ref(func(a *API) any { return &a.URL }), check: on(publicURL)},
		field{key: "private_webhooks", doc: "Webhooks go to public addresses only, and to those in these networks.", example: `["10.20.0.0/16"]`,
			ref: ref(func(a *API) any { return &a.PrivateWebhooks })},
		field{key: "location", doc: "Where the rack is, in short.", example: `"CLL"`,
			ref: ref(func(a *API) any { return &a.Location }), check: plainName()},
		field{key: "domain", doc: "Servers' names are below it: NAME.DOMAIN, ssh.NAME.DOMAIN, www.NAME.DOMAIN.", example: `"pi.example.org"`,
			ref: ref(func(a *API) any { return &a.Domain }), check: on(domainName)},
	)
}

func basePath(s string) *fault {
	const remedy = `letters, digits and . _ - between slashes, such as "/beta"`
	switch {
	case len(s) > 128 || !exportForm.MatchString(s):
		return faultf(remedy, "%s cannot be used", show(s))
	case holds(NativePath, s) || holds("/login", s):
		return faultf(`"/beta"`, "%s is where other calls are", show(s))
	}
	return nil
}

func publicURL(s string) *fault {
	const remedy = `such as "https://api.example.org"`
	u, err := url.Parse(s)
	switch {
	case err != nil || len(s) > 512 || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return faultf(remedy, "%s is not the address of an HTTP server", show(s))
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(s, "#"):
		return faultf(remedy, "%s has more than a host, a port and a path", show(s))
	case strings.HasSuffix(s, "/"):
		return faultf(quote(strings.TrimRight(s, "/")), "%s ends in a slash", show(s))
	}
	return nil
}

// longestName is RFC 1035's limit of a name, section 2.3.4.
const longestName = 253

var domainForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

// domainName leaves room for the names below it.
func domainName(s string) *fault {
	if len(s) > longestName-longestLabel-len("www..") || !domainForm.MatchString(s) {
		return faultf(`labels of lower-case letters, digits and hyphens, such as "pi.example.org"`, "%s cannot be a domain", show(s))
	}
	return nil
}

// api wants what keeps tokens off the wire.
func (k *checker) api() {
	a := &k.c.API
	at := func(key string) place { return place{table: "api", key: key} }
	for _, f := range []struct{ have, key, value, example string }{
		{"cert", "key", a.Key, "/etc/picloud/api.key"}, {"key", "cert", a.Cert, "/etc/picloud/api.crt"},
	} {
		if f.value == "" && (a.Cert != "" || a.Key != "") && !k.source.spoilt(at(f.key)) {
			k.list.add(k.source.position(at(f.have)), fmt.Sprintf("[api]: %s without %s", f.have, f.key), f.key+" = "+quote(f.example))
		}
	}
	for n, p := range a.PrivateWebhooks {
		if p != p.Masked() {
			key := element("private_webhooks", n)
			k.say(at(key), "api."+key, faultf(fmt.Sprintf("%q", p.Masked()), "%s is an address within its network", p))
		}
	}
	open := a.Listen.IsValid() && !a.Listen.Addr().IsLoopback()
	if open && a.Cert == "" && a.Key == "" && !k.source.spoilt(at("cert")) && !k.source.spoilt(at("key")) {
		k.say(at("listen"), "api.listen", faultf(fmt.Sprintf("cert and key, or \"127.0.0.1:%d\" with a proxy in front of it", a.Listen.Port()),
			"%s can be reached from outside, and there is no certificate", a.Listen))
	}
}

// checkCertificate reads the API's certificate and key, as the service will.
func (c *Config) checkCertificate(list *problems) {
	a := &c.API
	at := func(key string) position { return c.source.position(place{table: "api", key: key}) }
	if a.Cert == "" || a.Key == "" || cleanPath(a.Cert) != nil || cleanPath(a.Key) != nil {
		return
	}
	cert, wrong := readSmall(a.Cert, 0)
	if wrong != nil {
		list.add(at("cert"), fmt.Sprintf("api.cert: %s: %s", a.Cert, wrong.message), "a PEM file of the certificate and those that it is signed by")
	}
	key, bad := readSecret(a.Key)
	if bad != nil {
		list.add(at("key"), fmt.Sprintf("api.key: %s: %s", a.Key, bad.message), bad.remedy)
	}
	if wrong != nil || bad != nil {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		list.add(at("cert"), fmt.Sprintf("api.cert: %s with %s: %v", a.Cert, a.Key, err), "two PEM files that belong together")
	}
}

// Equal tells whether two are the same.
func (a API) Equal(b API) bool {
	same := slices.Equal(a.PrivateWebhooks, b.PrivateWebhooks)
	return same && a.Listen == b.Listen && a.Cert == b.Cert && a.Key == b.Key && a.Base == b.Base && a.URL == b.URL &&
		a.Location == b.Location && a.Domain == b.Domain
}
