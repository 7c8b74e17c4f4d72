package tui

import (
	"strings"
	"testing"
	"time"

	"picloud/engine"
)

func TestParseSize(t *testing.T) {
	tests := []struct {
		in   string
		want size
		err  string
	}{
		{in: "20G", want: size{bytes: 20e9}},
		{in: "20 GB", want: size{bytes: 20e9}},
		{in: " 20gb ", want: size{bytes: 20e9}},
		{in: "20  g", want: size{bytes: 20e9}},
		{in: "+5G", want: size{5e9, true}},
		{in: "+ 5 GB", want: size{5e9, true}},
		{in: "1.5T", want: size{bytes: 15e11}},
		{in: "0.5G", want: size{bytes: 5e8}},
		{in: "500M", want: size{bytes: 5e8}},
		{in: "1.123456M", want: size{bytes: 1123456}},
		{in: "2.50000000000000G", want: size{bytes: 25e8}},
		{in: "007G", want: size{bytes: 7e9}},
		{in: "1000T", want: size{bytes: 1e15}},
		{in: "1.1234567M", err: "not between"},
		{in: "1001T", err: "not between"},
		{in: "99999999999999999999G", err: "not between"},
		{in: "0G", err: "more than nothing"},
		{in: "+0.0G", err: "more than nothing"},
		{in: "20", err: "20 of what? Say 20G"},
		{in: "20B", err: "of what"},
		{in: "20GiB", err: "1G is 10^9 bytes"},
		{in: "20K", err: "is no unit"},
		{in: "20 G B x", err: "is no unit"},
		{in: "", err: "is no size"},
		{in: "+", err: "is no size"},
		{in: "G", err: "is no size"},
		{in: "-5G", err: "is no size"},
		{in: "++5G", err: "is no size"},
		{in: "5.G", err: "is no size"},
		{in: ".5G", err: "is no size"},
		{in: "1.2.3G", err: "is no size"},
		{in: "1,5G", err: "is no unit"},
		{in: "٣G", err: "is no size"},
		{in: "0x10G", err: "is no unit"},
	}
	for _, tt := range tests {
		got, err := parseSize(tt.in)
		switch {
		case tt.err == "" && (err != nil || got != tt.want):
			t.Errorf("%q: %+v %v, want %+v", tt.in, got, err, tt.want)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%q: error %v, want %q", tt.in, err, tt.err)
		}
	}
}

// FuzzParseSize: what is taken is in bounds, and taken again as it is written.
func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"20G", "+5 GB", "1.5T", "20", "1e9G", "999999999999M", "+", "0.000001M"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSize(text)
		if err != nil {
			return
		}
		if s.bytes <= 0 || s.bytes > maxSize {
			t.Fatalf("%q: %d", text, s.bytes)
		}
		// From 999.5 GB on it is written in TB, whose thousandths are GB.
		if written := bytesIn(s.bytes, 3); s.bytes%1e6 == 0 && s.bytes < 999_500e6 && s.bytes >= 1e6 {
			if again, err := parseSize(written); err != nil || again.bytes != s.bytes {
				t.Fatalf("%q is %q, which is %d, %v", text, written, again.bytes, err)
			}
		}
	})
}

func TestBytesIn(t *testing.T) {
	for n, want := range map[int64]string{
		-1: "0 B", 0: "0 B", 999: "999 B", 1000: "1 kB", 20e9: "20 GB", 20500e6: "20.5 GB", 999_600_000: "1 GB", 1e15: "1 PB", 9e18: "9000 PB",
	} {
		if got := bytesIn(n, 1); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for u, want := range map[engine.VolumeUse]string{
		{Size: 10e9, Used: 2_140e6}:      "2.1 of 10 GB",
		{Size: 10e9, Used: 3e6}:          "3 MB of 10 GB",
		{Size: 10e9, Used: 10e9}:         "10 of 10 GB",
		{Used: 2_140e6}:                  "2.1 GB",
		{Size: -1, Used: -1}:             "0 B",
		{Size: 1 << 62, Used: 1<<63 - 1}: "9223.4 of 4611.7 PB",
	} {
		if got := roomOf(u); got != want {
			t.Errorf("%+v: %q, want %q", u, got, want)
		}
	}
}

// TestUseCell: it fits its column whatever the numbers.
func TestUseCell(t *testing.T) {
	m := &Model{now: epoch}
	tests := []struct {
		use  engine.VolumeUse
		age  time.Duration
		want string
	}{
		{engine.VolumeUse{Size: 10e9, Used: 2_199e6}, 0, "21%"},
		{engine.VolumeUse{Size: 10e9, Used: 9_999e6}, 0, "99%"},
		{engine.VolumeUse{Size: 10e9, Used: 10e9}, 0, "100%"},
		{engine.VolumeUse{Size: 10e9, Used: 2_199e6}, time.Hour, "21?"},
		{engine.VolumeUse{Size: 1, Used: 1<<63 - 1}, 0, "999%"},
		{engine.VolumeUse{Used: 850e6}, 0, "850M"},
		{engine.VolumeUse{Used: 9_940e6}, 0, "9.9G"},
		{engine.VolumeUse{Used: 9_960e6}, 0, "10G"},
		{engine.VolumeUse{Used: 999_499_000}, 0, "999M"},
		{engine.VolumeUse{Used: 999_600_000}, 0, "1G"},
		{engine.VolumeUse{Used: 0}, 0, "0B"},
	}
	for _, tt := range tests {
		p := engine.PiView{RootVolume: engine.VolumeView{Use: tt.use, UseAt: epoch.Add(-tt.age)}}
		if got := string(m.useCell(nil, &p)); got != tt.want || len(got) > 4 {
			t.Errorf("%+v: %q, want %q", tt.use, got, tt.want)
		}
	}
	if got := string(m.useCell(nil, &engine.PiView{})); got != "-" {
		t.Errorf("never looked at: %q", got)
	}
}
