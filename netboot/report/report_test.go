package report

import (
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const whole = `phase=end
board=Raspberry Pi 4 Model B Rev 1.5
revision=c03115
serial=10000000b0a4d001
mac=dc:a6:32:01:02:03
memory=3882152
cores=4
heat=61234
throttled=50000
burned=20
computed=812
miscomputed=0
checked=1896
miswritten=2
trouble=no thermal zone
`

var wholeReport = Report{
	Done: true, Board: "Raspberry Pi 4 Model B Rev 1.5", Revision: 0xc03115, Serial: 0x10000000b0a4d001,
	MAC: [6]byte{0xdc, 0xa6, 0x32, 1, 2, 3}, MemoryKB: 3882152, Cores: 4, Heat: 61234, HasHeat: true,
	Throttled: 0x50000, HasThrottled: true, Burned: 20 * time.Second, Computed: 812, CheckedMB: 1896, Miswritten: 2,
	Trouble: "no thermal zone",
}

func TestParse(t *testing.T) {
	got, err := Parse([]byte(whole))
	if err != nil || got != wholeReport {
		t.Errorf("%+v, %v", got, err)
	}
	if got := string(wholeReport.Text()); got != whole {
		t.Errorf("written:\n%s", got)
	}
	short, err := Parse([]byte("mac=dc:a6:32:01:02:03\nmemory=1000\nphase=begin"))
	if err != nil || short != (Report{MAC: wholeReport.MAC, MemoryKB: 1000}) {
		t.Errorf("%+v, %v", short, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":             "",
		"no phase":            strings.Replace(whole, "phase=end\n", "", 1),
		"no address":          strings.Replace(whole, "mac=dc:a6:32:01:02:03\n", "", 1),
		"another phase":       strings.Replace(whole, "phase=end", "phase=over", 1),
		"an unknown line":     whole + "life=ready\n",
		"a line twice":        whole + "miswritten=0\n",
		"an empty line":       whole + "\n",
		"no value":            strings.Replace(whole, "cores=4", "cores", 1),
		"an empty value":      strings.Replace(whole, "cores=4", "cores=", 1),
		"an empty text":       strings.Replace(whole, "trouble=no thermal zone", "trouble=", 1),
		"a negative number":   strings.Replace(whole, "cores=4", "cores=-4", 1),
		"a sign":              strings.Replace(whole, "cores=4", "cores=+4", 1),
		"a blank":             strings.Replace(whole, "cores=4", "cores=4 ", 1),
		"a return":            strings.Replace(whole, "cores=4", "cores=4\r", 1),
		"a huge number":       strings.Replace(whole, "cores=4", "cores=99999999999999999999", 1),
		"beyond an int32":     strings.Replace(whole, "cores=4", "cores=2147483648", 1),
		"a control character": strings.Replace(whole, "no thermal", "no \x1b[2Jthermal", 1),
		"not ASCII":           strings.Replace(whole, "no thermal", "no é", 1),
		"a NUL":               strings.Replace(whole, "Rev 1.5", "Rev 1.5\x00", 1),
		"a long text":         strings.Replace(whole, "no thermal", strings.Repeat("x", 101), 1),
		"a long hex number":   strings.Replace(whole, "revision=c03115", "revision=00c03115f", 1),
		"no hex number":       strings.Replace(whole, "revision=c03115", "revision=0xc03115", 1),
		"a long address":      strings.Replace(whole, "mac=dc:a6:32:01:02:03", "mac=dc:a6:32:01:02:03:04:05", 1),
		"another form of it":  strings.Replace(whole, "mac=dc:a6:32:01:02:03", "mac=dca6.3201.0203", 1),
		"heat of the sun":     strings.Replace(whole, "heat=61234", "heat=5500000", 1),
		"no heat":             strings.Replace(whole, "heat=61234", "heat=warm", 1),
		"too long":            whole + strings.Repeat("x", MaxBytes),
	} {
		if got, err := Parse([]byte(text)); !errors.Is(err, ErrInvalid) || got != (Report{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		} else if strings.ContainsFunc(err.Error(), func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("%s: the error has the sender's characters: %q", name, err)
		}
	}
}

// FuzzParse: whatever comes is refused, or is a report that is written as it is
// read.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("phase=begin\nmac=dc:a6:32:01:02:03\nmemory=0\nheat=-1\n"))
	f.Add([]byte("phase=end\r\nmac=\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || r != (Report{}) {
				t.Fatalf("%+v, %v", r, err)
			}
			return
		}
		if again, err := Parse(r.Text()); err != nil || again != r {
			t.Fatalf("%q: %+v, written %q: %+v, %v", b, r, r.Text(), again, err)
		}
	})
}

// Text is for shells and simulated Pis: what it makes of any report is one.
func TestTextOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Report{
			Done: rapid.Bool().Draw(t, "done"), Board: rapid.String().Draw(t, "board"), Trouble: rapid.String().Draw(t, "trouble"),
			Revision: rapid.Uint32().Draw(t, "revision"), Serial: rapid.Uint64().Draw(t, "serial"), HasHeat: true,
			Heat: rapid.IntRange(-100_000, 200_000).Draw(t, "heat"), MemoryKB: rapid.IntRange(0, maxNumber).Draw(t, "memory"),
		}
		got, err := Parse(r.Text())
		if err != nil {
			t.Fatalf("%q: %v", r.Text(), err)
		}
		if got.Board, got.Trouble = r.Board, r.Trouble; got != r {
			t.Fatalf("%+v, want %+v", got, r)
		}
	})
}

func TestOrder(t *testing.T) {
	o := Order{
		Server: netip.MustParseAddrPort("10.64.0.1:10069"), Address: netip.MustParsePrefix("10.64.0.2/30"),
		Token: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Burn: 20 * time.Second,
	}
	line := "console=tty1 rdinit=/init " + strings.Join(o.Args(), " ") + " panic=0"
	if got, err := ParseOrder(line); err != nil || got != o {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ParseOrder("root=/dev/nfs"); !errors.Is(err, ErrNoOrder) {
		t.Errorf("no order: %v", err)
	}
	for _, change := range []func(*Order){
		func(o *Order) { o.Server = netip.AddrPort{} },
		func(o *Order) { o.Server = netip.MustParseAddrPort("[::1]:1") },
		func(o *Order) { o.Server = netip.MustParseAddrPort("10.64.0.1:0") },
		func(o *Order) { o.Address = netip.Prefix{} },
		func(o *Order) { o.Token = "short" },
		func(o *Order) { o.Token = "with blanks and 'quotes'" },
		func(o *Order) { o.Burn = time.Millisecond },
		func(o *Order) { o.Burn = math.MaxInt64 },
	} {
		bad := o
		change(&bad)
		if bad.Validate() == nil {
			t.Errorf("%+v is taken", bad)
		}
		if got, err := ParseOrder(strings.Join(bad.Args(), " ")); err == nil && got == bad {
			t.Errorf("%+v is read", bad)
		}
	}
}

func FuzzParseOrder(f *testing.F) {
	f.Add("picloud.report=10.64.0.1:10069 picloud.address=10.64.0.2/30 picloud.token=ABCDEFGHIJKLMNOP picloud.burn=20")
	f.Fuzz(func(t *testing.T, line string) {
		o, err := ParseOrder(line)
		if err != nil {
			return
		}
		if again, err := ParseOrder(strings.Join(o.Args(), " ")); err != nil || again != o {
			t.Fatalf("%q: %+v, then %+v, %v", line, o, again, err)
		}
	})
}
