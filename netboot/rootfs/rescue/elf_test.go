package rescue

import (
	"bytes"
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestReadNeed(t *testing.T) {
	for _, tt := range []struct {
		name string
		file []byte
		want need
		bad  bool
	}{
		{"program", object{interpreter: loader, needed: []string{"liba.so.1", "libc.so.6"}, runpath: "$ORIGIN/x:/opt/lib"}.bytes(),
			need{loader, []string{"liba.so.1", "libc.so.6"}, []string{"$ORIGIN/x", "/opt/lib"}, elf.ELFCLASS64, elf.EM_X86_64}, false},
		{"static", object{machine: elf.EM_AARCH64}.bytes(), need{class: elf.ELFCLASS64, machine: elf.EM_AARCH64}, false},
		{"script", []byte("#!/bin/sh -e\n:\n"), need{interpreter: "/bin/sh"}, false},
		{"script with a blank", []byte("#! /usr/bin/env perl\n"), need{interpreter: "/usr/bin/env"}, false},
		{"script without", []byte("#!\n"), need{}, false},
		{"script of here", []byte("#!sh\n"), need{}, false},
		{"text", []byte("text"), need{}, false},
		{"empty", nil, need{}, false},
		{"cut", object{}.bytes()[:40], need{}, true},
	} {
		got, err := readNeed(bytes.NewReader(tt.file))
		if (err != nil) != tt.bad || got.interpreter != tt.want.interpreter || !slices.Equal(got.libraries, tt.want.libraries) ||
			!slices.Equal(got.paths, tt.want.paths) || got.class != tt.want.class || got.machine != tt.want.machine {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
}

// A program of this machine, made by a real linker.
func TestReadNeedReal(t *testing.T) {
	f, err := os.Open("/bin/sh")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	n, err := readNeed(f)
	if err != nil || !strings.HasPrefix(n.interpreter, "/lib") || !slices.ContainsFunc(n.libraries, func(s string) bool { return strings.HasPrefix(s, "libc.") }) {
		t.Errorf("%+v, %v", n, err)
	}
}

func FuzzReadNeed(f *testing.F) {
	f.Add(object{interpreter: loader, needed: []string{"libc.so.6"}, runpath: "/x"}.bytes())
	f.Add(object{machine: elf.EM_ARM}.bytes())
	f.Add([]byte("#!/bin/sh\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := readNeed(bytes.NewReader(b))
		if err == nil && len(n.interpreter) > maxInterpreter {
			t.Errorf("interpreter of %d bytes", len(n.interpreter))
		}
	})
}

func TestLibraries(t *testing.T) {
	elsewhere := object{needed: []string{"libc.so.6"}}
	m := debian()
	m["etc/ld.so.conf.d/vc.conf"] = "# the graphics processor's\n/opt/vc/lib # here\ninclude /etc/ld.so.conf\n"
	m["etc/ld.so.conf.d/ignored"] = "/nowhere\n"
	m["opt/vc/lib/libvc.so"] = elsewhere.bytes()
	m["usr/lib/app/libown.so.1"] = object{needed: []string{"libc.so.6", "libvc.so"}}.bytes()
	m[libDir+"libother.so"] = object{machine: elf.EM_386}.bytes()
	m["usr/lib/libother.so"] = elsewhere.bytes()
	m["usr/bin/app"] = object{interpreter: loader, needed: []string{"libown.so.1", "libother.so"}, runpath: "$ORIGIN/../lib/app"}.bytes()
	m["usr/bin/lost"] = object{needed: []string{"libnone.so"}}.bytes()
	m["usr/bin/lost2"] = object{interpreter: "/lib/ld-none.so"}.bytes()
	m["usr/bin/lost3"] = object{needed: []string{"/opt/none.so"}}.bytes()
	m["usr/bin/found"] = object{needed: []string{"/opt/vc/lib/libvc.so"}}.bytes()
	l := newLinker(openTree(t, makeImage(t, m)))
	if !slices.Equal(l.configured, []string{"/opt/vc/lib"}) {
		t.Errorf("configured %q", l.configured)
	}
	for _, name := range []string{"app", "found"} {
		if ok, err := l.addProgram(name); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	for _, want := range []string{
		"usr/bin/app", "lib64", "usr/lib64/ld-linux-x86-64.so.2", libDir + "ld-linux-x86-64.so.2", libDir + "libc.so.6",
		"usr/lib/app/libown.so.1", "opt/vc/lib/libvc.so", "usr/lib/libother.so", "usr/bin/found",
	} {
		if _, ok := l.entries[want]; !ok {
			t.Errorf("%s is missing", want)
		}
	}
	if e := l.entries["usr/lib/libvc.so"]; string(e.data) != "/opt/vc/lib/libvc.so" {
		t.Errorf("where ld.so finds it without a cache: %+v", e)
	}
	if _, ok := l.entries[libDir+"libother.so"]; ok {
		t.Error("a library of another processor")
	}
	for _, name := range []string{"lost", "lost2", "lost3"} {
		if _, err := l.addProgram(name); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "program "+name) || !strings.Contains(err.Error(), "none") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
