package store

import (
	"database/sql/driver"
	"fmt"
	"net"
	"net/netip"
	"time"

	"picloud/engine"
)

// The types below are values of the engine on their way into a column (Value)
// and out of it (Scan). Each wraps a pointer, so that one list of columns
// serves both ways.

// moment is a time as microseconds since 1970 UTC, NULL when zero.
type moment struct{ t *time.Time }

func (m moment) Value() (driver.Value, error) {
	if m.t.IsZero() {
		return nil, nil
	}
	return m.t.UnixMicro(), nil
}

func (m moment) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*m.t = time.Time{}
	case int64:
		*m.t = time.UnixMicro(v).UTC()
	default:
		return fmt.Errorf("time column holds a %T", v)
	}
	return nil
}

// text is any string type.
type text[S ~string] struct{ s *S }

func (c text[S]) Value() (driver.Value, error) { return string(*c.s), nil }
func (c text[S]) Scan(v any) error {
	s, err := asString(v)
	*c.s = S(s)
	return err
}

// optional is a name that refers to a row elsewhere, NULL when empty: a foreign
// key does not look at NULL.
type optional struct{ s *string }

func (c optional) Value() (driver.Value, error) {
	if *c.s == "" {
		return nil, nil
	}
	return *c.s, nil
}

func (c optional) Scan(v any) error {
	s, err := asString(v)
	*c.s = s
	return err
}

// number is any integer type that fits in 64 bits with a sign.
type number[N ~int | ~int64 | ~uint32] struct{ n *N }

func (c number[N]) Value() (driver.Value, error) { return int64(*c.n), nil }
func (c number[N]) Scan(v any) error {
	n, ok := v.(int64)
	if !ok && v != nil {
		return fmt.Errorf("number column holds a %T", v)
	}
	*c.n = N(n)
	if int64(*c.n) != n {
		return fmt.Errorf("number %d does not fit in a %T", n, *c.n)
	}
	return nil
}

// flag is a bool as 0 or 1.
type flag struct{ b *bool }

func (c flag) Value() (driver.Value, error) { return *c.b, nil }
func (c flag) Scan(v any) error {
	n, ok := v.(int64)
	*c.b = n != 0
	if !ok {
		return fmt.Errorf("flag column holds a %T", v)
	}
	return nil
}

// stage is a boot stage by its name.
type stage struct{ s *engine.Stage }

func (c stage) Value() (driver.Value, error) { return c.s.String(), nil }
func (c stage) Scan(v any) error {
	name, err := asString(v)
	if err != nil {
		return err
	}
	s, ok := engine.ParseStage(name)
	if !ok && v != nil {
		return fmt.Errorf("no stage is named %q", name)
	}
	*c.s = s
	return nil
}

// role is a role by its name.
type role struct{ r *engine.Role }

func (c role) Value() (driver.Value, error) { return c.r.String(), nil }
func (c role) Scan(v any) error {
	name, err := asString(v)
	if err != nil {
		return err
	}
	r, ok := engine.ParseRole(name)
	if !ok && v != nil {
		return fmt.Errorf("no role is named %q", name)
	}
	*c.r = r
	return nil
}

// mac is an Ethernet address in colon form, "" when not known.
type mac struct{ m *engine.MAC }

func (c mac) Value() (driver.Value, error) { return c.m.String(), nil }
func (c mac) Scan(v any) error {
	*c.m = engine.MAC{}
	s, err := asString(v)
	if err != nil || s == "" {
		return err
	}
	hw, err := net.ParseMAC(s)
	if err != nil {
		return err
	}
	if len(hw) != len(c.m) {
		return fmt.Errorf("%s is not a 6-byte address", s)
	}
	copy(c.m[:], hw)
	return nil
}

// addr is an IP address in its usual form, "" when there is none.
type addr struct{ a *netip.Addr }

func (c addr) Value() (driver.Value, error) {
	if !c.a.IsValid() {
		return "", nil
	}
	return c.a.String(), nil
}

func (c addr) Scan(v any) error {
	s, err := asString(v)
	if err != nil {
		return err
	}
	return c.a.UnmarshalText([]byte(s))
}

// prefix is an IP address with its mask, "" when there is none.
type prefix struct{ p *netip.Prefix }

func (c prefix) Value() (driver.Value, error) {
	if !c.p.IsValid() {
		return "", nil
	}
	return c.p.String(), nil
}

func (c prefix) Scan(v any) error {
	s, err := asString(v)
	if err != nil {
		return err
	}
	return c.p.UnmarshalText([]byte(s))
}

// asString takes what the driver gives for a TEXT column; NULL is "".
func asString(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	}
	return "", fmt.Errorf("text column holds a %T", v)
}
