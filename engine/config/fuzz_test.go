package config

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// FuzzParse: any file gives either a Config that means the same when it is
// written and read again, or problems with places inside the file.
func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte(full))
	var b bytes.Buffer
	if err := Template(&b, known); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	for _, m := range mistakes {
		f.Add([]byte(m.new))
		f.Add([]byte(strings.Replace(small, m.old, m.new, 1)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, found := Parse("f", data, known)
		if (c == nil) != (len(found) > 0) {
			t.Fatalf("Config %v with %d problems", c != nil, len(found))
		}
		lines := bytes.Count(data, []byte("\n")) + 1
		for _, p := range found {
			if p.Line < 0 || p.Line > lines || p.Message == "" || p.File != "f" || (p.Line > 0) != (p.Column > 0) {
				t.Errorf("problem %+v of a file with %d lines", p, lines)
			}
		}
		if c == nil {
			return
		}
		var again bytes.Buffer
		if err := c.Encode(&again); err != nil {
			t.Fatal(err)
		}
		sameConfig(t, mustParse(t, again.String()), c)
		if len(c.Layout().Pis) != len(c.Segments) {
			t.Error("a segment without a Pi")
		}
	})
}

// FuzzCredentials: any file gives either credentials or problems.
func FuzzCredentials(f *testing.F) {
	for _, seed := range []string{
		`community = "public"`, "user = \"u\"\nauth_protocol = \"SHA\"\nauth_password = \"12345678\"",
		"community = 1", "community = { a = 1 }", "community = [\"s3cret\"]",
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		c, found := parseCredentials(dir, data)
		if (c != (Credentials{})) && len(found) > 0 {
			t.Error("credentials in spite of mistakes")
		}
	})
}

// rack makes the file of a rack with n segments, 48 to a switch.
func rack(n int) []byte {
	var b bytes.Buffer
	b.WriteString("rack = \"A3\"\n")
	for k := range n {
		if k%48 == 0 {
			fmt.Fprintf(&b, "\n[[switch]]\nname = \"sw%d\"\naddress = \"10.0.0.%d:161\"\nprofile = \"rfc3621\"\ncredentials = \"/etc/picloud/sw.secret\"\n", k/48+1, k/48+1)
		}
		fmt.Fprintf(&b, "\n[[segment]]\nname = \"a3-%04d\"\ninterface = \"eth0.%d\"\naddress = \"10.64.%d.%d/30\"\nswitch = \"sw%d\"\nport = %d\nmac = \"b8:27:eb:00:%02x:%02x\"\nmodel = \"4B\"\n",
			k, k+1, 4*k>>8, 4*k&255+1, k/48+1, k%48+1, k>>8, k&255)
	}
	return b.Bytes()
}

func BenchmarkParse1000(b *testing.B) {
	data := rack(1000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, found := Parse("rack.toml", data, known); found != nil {
			b.Fatal(found[0].Error())
		}
	}
}
