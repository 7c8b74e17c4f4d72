package report

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ErrNoOrder means that a command line tells nobody to report.
var ErrNoOrder = errors.New("no order to report")

// Order is what a Pi is told that is to be examined.
type Order struct {
	// Server is where it reports, and Address what it has itself, with the length
	// of its network's prefix.
	Server  netip.AddrPort
	Address netip.Prefix
	// Token lets a report count.
	Token string
	// Burn is how long it works hard, in whole seconds.
	Burn time.Duration
}

// Words of the kernel's command line, which /init reads, too.
const (
	wordServer  = "picloud.report"
	wordAddress = "picloud.address"
	wordToken   = "picloud.token"
	wordBurn    = "picloud.burn"
)

// tokenForm is what a token may look like: nothing that means something in a
// command line, a shell or a URL.
var tokenForm = regexp.MustCompile(`^[A-Za-z0-9]{16,64}$`)

// Path is where on the server reports with a token go.
func Path(token string) string { return pathPrefix + token }

const pathPrefix = "/report/"

// Args are the words for the command line. They are as they should be only if
// [Order.Validate] says so.
func (o Order) Args() []string {
	return []string{
		wordServer + "=" + o.Server.String(), wordAddress + "=" + o.Address.String(), wordToken + "=" + o.Token,
		fmt.Sprintf("%s=%d", wordBurn, o.Burn/time.Second),
	}
}

// Validate says what is wrong with an order.
func (o Order) Validate() error {
	switch {
	case !o.Server.IsValid() || !o.Server.Addr().Is4() || o.Server.Port() == 0:
		return fmt.Errorf("order: server %s: want an IPv4 address with a port", o.Server)
	case !o.Address.IsValid() || !o.Address.Addr().Is4():
		return fmt.Errorf("order: address %s: want an IPv4 address with the length of its prefix", o.Address)
	case !tokenForm.MatchString(o.Token):
		return errors.New("order: token: want 16 to 64 letters and digits")
	case o.Burn < time.Second || o.Burn > time.Hour:
		return fmt.Errorf("order: burn-in of %s: want 1s to 1h", o.Burn)
	}
	return nil
}

// ParseOrder reads an order from a kernel's command line. Errors: [ErrNoOrder],
// or what is wrong with it.
func ParseOrder(cmdline string) (Order, error) {
	words := map[string]string{}
	for _, w := range strings.Fields(cmdline) {
		if k, v, ok := strings.Cut(w, "="); ok {
			words[k] = v
		}
	}
	if words[wordServer] == "" {
		return Order{}, ErrNoOrder
	}
	var o Order
	var err error
	if o.Server, err = netip.ParseAddrPort(words[wordServer]); err != nil {
		return Order{}, fmt.Errorf("order: %s: %w", wordServer, err)
	}
	if o.Address, err = netip.ParsePrefix(words[wordAddress]); err != nil {
		return Order{}, fmt.Errorf("order: %s: %w", wordAddress, err)
	}
	seconds, err := strconv.ParseUint(words[wordBurn], 10, 16)
	if err != nil {
		return Order{}, fmt.Errorf("order: %s: %w", wordBurn, err)
	}
	o.Token, o.Burn = words[wordToken], time.Duration(seconds)*time.Second
	return o, o.Validate()
}
