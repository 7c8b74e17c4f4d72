package poe

import (
	"errors"
	"fmt"
	"time"

	"github.com/gosnmp/gosnmp"
)

// The errors of this package.
var (
	// ErrNoAnswer means that the switch did not answer within all tries.
	ErrNoAnswer = errors.New("no answer")
	// ErrAnswer means that the switch answered what it must not.
	ErrAnswer = errors.New("nonsense answer")
	// ErrRefused means that the switch refused the request.
	ErrRefused = errors.New("refused")
	// ErrAuth means that SNMPv3 authentication or decryption failed.
	ErrAuth = errors.New("authentication failed")
	// ErrReadOnly means that the vendor's power cannot be set over SNMP.
	ErrReadOnly = errors.New("power cannot be set over SNMP")
	// ErrNoPort means that the configuration has no such port.
	ErrNoPort = errors.New("no such port")
	// ErrNotApplied means that the switch said yes and did nothing.
	ErrNotApplied = errors.New("switch said yes and did nothing")
	// ErrNoLoad means that power is allowed but no device takes it.
	ErrNoLoad = errors.New("power is on, no device takes it")
	// ErrDenied means that the switch has no budget left for the port.
	ErrDenied = errors.New("power denied")
	// ErrFault means that the switch reports an electrical fault.
	ErrFault = errors.New("port fault")
	// ErrTooSoon means that the port has not been off for Config.MinOff.
	ErrTooSoon = errors.New("off for too short a time")
	// ErrSuperseded means that a later change of the same port came between.
	ErrSuperseded = errors.New("superseded by a later change")
	// ErrClosed means that the driver or the worker has ended.
	ErrClosed = errors.New("closed")
)

// Error says what failed at which switch and, where a person can do something
// about it, what.
type Error struct {
	Op       string // "poll", "set power", ...
	Switch   string
	Port     int // 0: the whole switch
	Err      error
	Answered time.Time // when the switch last answered; zero means never
	Hint     string    // what to do, or empty
}

// Error is `poe: set power sw1/23: no answer after 3 tries`.
func (e *Error) Error() string {
	if e.Port == 0 {
		return fmt.Sprintf("poe: %s %s: %v", e.Op, e.Switch, e.Err)
	}
	return fmt.Sprintf("poe: %s %s/%d: %v", e.Op, e.Switch, e.Port, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// hints tell a person what to do about an error.
var hints = []struct {
	err  error
	hint string
}{
	{ErrNoAnswer, "check the switch's address, that SNMP is enabled there, the community or user, and its access list"},
	{ErrAuth, "check user, authentication and privacy protocol and both passphrases"},
	{ErrRefused, "give the community or user write access to POWER-ETHERNET-MIB on the switch"},
	{ErrReadOnly, "use the vendor's own interface to switch power, or another switch"},
	{ErrNotApplied, "check the profile, and whether a schedule, a PoE policy or another manager on the switch overrides SNMP"},
	{ErrNoLoad, "check the cable and that the Pi has a PoE HAT"},
	{ErrDenied, "the PSE budget is spent: move or switch off devices, or raise the port's priority"},
	{ErrFault, "unplug the cable, look for a short or a device that draws too much, then switch off and on"},
}

// Hint returns what a person can do about err, or an empty string.
func Hint(err error) string {
	for _, h := range hints {
		if errors.Is(err, h.err) {
			return h.hint
		}
	}
	return ""
}

// statusError is an error-status that the switch answered with.
type statusError struct {
	status gosnmp.SNMPError
	index  int // of the variable at fault, from 1; 0: none
	oid    string
}

func (e *statusError) Error() string {
	if e.oid == "" {
		return fmt.Sprintf("switch answered %v", e.status)
	}
	return fmt.Sprintf("switch answered %v for %s", e.status, e.oid)
}

// Unwrap sorts the statuses into those that mean "you may not" and the rest.
func (e *statusError) Unwrap() error {
	switch e.status {
	case gosnmp.NoAccess, gosnmp.AuthorizationError, gosnmp.NotWritable, gosnmp.ReadOnly, gosnmp.NoSuchName, gosnmp.NoCreation:
		return ErrRefused
	}
	return ErrAnswer
}
