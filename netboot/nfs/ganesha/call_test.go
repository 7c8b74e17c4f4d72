package ganesha

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

func words(all ...uint32) []byte {
	var b []byte
	for _, v := range all {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func data(s string) []byte {
	b := append(words(uint32(len(s))), s...)
	return append(b, make([]byte, -len(s)&3)...)
}

// aCall is a call as Linux sends it, by root of "pi".
func aCall(prog, vers, proc uint32, args ...[]byte) []byte {
	b := words(7, 0, 2, prog, vers, proc, 1, 24, 0, 2, 0x70690000, 0, 0, 0, 0, 0)
	return append(b, bytes.Join(args, nil)...)
}

var aHandle = data("0123456789abcdef")

func mayMount(path string) bool { return path == "/srv/a" }

func TestCheckCall(t *testing.T) {
	long := strings.Repeat("a", maxName)
	for _, tt := range []struct {
		name string
		call []byte
		ok   bool
	}{
		{"null", aCall(progNFS, 3, 0), true},
		{"getattr", aCall(progNFS, 3, 1, aHandle), true},
		{"lookup", aCall(progNFS, 3, 3, aHandle, data("etc")), true},
		{"lookup of the parent", aCall(progNFS, 3, 3, aHandle, data("..")), true},
		{"longest name", aCall(progNFS, 3, 3, aHandle, data(long)), true},
		{"name too long", aCall(progNFS, 3, 3, aHandle, data(long+"a")), false},
		{"absolute", aCall(progNFS, 3, 3, aHandle, data("/etc/shadow")), false},
		{"upwards", aCall(progNFS, 3, 3, aHandle, data("../b")), false},
		{"slash at the end", aCall(progNFS, 3, 3, aHandle, data("etc/")), false},
		{"NUL", aCall(progNFS, 3, 3, aHandle, data("etc\x00/")), false},
		{"create", aCall(progNFS, 3, 8, aHandle, data("/x"), words(0)), false},
		{"mkdir", aCall(progNFS, 3, 9, aHandle, data("/x")), false},
		{"symlink", aCall(progNFS, 3, 10, aHandle, data("x/y"), words(0, 0, 0, 0, 0, 0), data("z")), false},
		{"symlink to anywhere", aCall(progNFS, 3, 10, aHandle, data("x"), words(0, 0, 0, 0, 0, 0), data("/etc/passwd")), true},
		{"mknod", aCall(progNFS, 3, 11, aHandle, data("x/y")), false},
		{"remove", aCall(progNFS, 3, 12, aHandle, data("x/y")), false},
		{"rmdir", aCall(progNFS, 3, 13, aHandle, data("x/y")), false},
		{"rename from", aCall(progNFS, 3, 14, aHandle, data("/x"), aHandle, data("y")), false},
		{"rename to", aCall(progNFS, 3, 14, aHandle, data("x"), aHandle, data("/y")), false},
		{"rename", aCall(progNFS, 3, 14, aHandle, data("x"), aHandle, data("y")), true},
		{"link", aCall(progNFS, 3, 15, aHandle, aHandle, data("/y")), false},
		{"handle too long", aCall(progNFS, 3, 3, data(strings.Repeat("h", 65)), data("y")), false},
		{"no name", aCall(progNFS, 3, 3, aHandle), false},
		{"half a name", aCall(progNFS, 3, 3, aHandle, words(8), []byte("abcd")), false},
		{"huge length", aCall(progNFS, 3, 3, aHandle, words(0xffffffff)), false},
		{"unknown procedure", aCall(progNFS, 3, 22), false},
		{"version 4", aCall(progNFS, 4, 1), true},
		{"NFSACL", aCall(progACL, 3, 1, aHandle), true},
		{"mount", aCall(progMount, 3, 1, data("/srv/a")), true},
		{"unmount", aCall(progMount, 3, 3, data("/srv/a")), true},
		{"mount, version 1", aCall(progMount, 1, 1, data("/srv/a")), false},
		{"dump", aCall(progMount, 3, 2), false},
		{"export", aCall(progMount, 3, 5), false},
		{"other program", aCall(100000, 2, 4), false},
		{"a reply", words(7, 1, 0, 0, 0, 0), false},
		{"another RPC", words(7, 0, 3, progNFS, 3, 0, 0, 0, 0, 0), false},
		{"endless credentials", words(7, 0, 2, progNFS, 3, 0, 1, 401), false},
		{"empty", []byte{}, false},
	} {
		err := checkCall(tt.call, mayMount)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, errCall) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestMountPath: the server is never asked for a path that is not an export's.
func TestMountPath(t *testing.T) {
	for path, want := range map[string]string{"/srv/a": "/srv/a", "/srv/a/etc": "??????????", "/srv/b": "??????", "": ""} {
		call := aCall(progMount, 3, 1, data(path))
		if err := checkCall(call, mayMount); err != nil || !bytes.HasSuffix(call, data(want)) {
			t.Errorf("%s: %q, %v", path, call, err)
		}
	}
}

// TestNoAccessLists: the server is asked for a program that it has not.
func TestNoAccessLists(t *testing.T) {
	call := aCall(progACL, 3, 2, aHandle)
	want := aCall(progNone, 3, 2, aHandle)
	if err := checkCall(call, mayMount); err != nil || !bytes.Equal(call, want) {
		t.Errorf("%x, %v; want %x", call, err, want)
	}
}

func TestRelayCalls(t *testing.T) {
	record := func(call []byte, mark uint32) []byte { return append(words(mark|uint32(len(call))), call...) }
	good := record(aCall(progNFS, 3, 3, aHandle, data("etc")), lastFragment)
	write := record(aCall(progNFS, 3, 7, aHandle, words(0, 0, 1<<20, 2), data(strings.Repeat("/", 1<<20))), lastFragment)
	bad := record(aCall(progNFS, 3, 3, aHandle, data("a/b")), lastFragment)
	for _, tt := range []struct {
		name    string
		in      []byte
		passed  int
		refused bool
	}{
		{"two calls", append(bytes.Clone(good), write...), len(good) + len(write), false},
		{"bad after good", append(bytes.Clone(good), bad...), len(good), true},
		{"half a call", good[:20], 0, false},
		{"in fragments", record(good[4:], 0), 0, true},
		{"too long", words(lastFragment | maxCall + 1), 0, true},
		{"no call", words(lastFragment), 0, true},
	} {
		var out bytes.Buffer
		err := relayCalls(&out, bytes.NewReader(tt.in), mayMount)
		if (err != nil) != tt.refused || out.Len() != tt.passed || !bytes.Equal(out.Bytes(), tt.in[:tt.passed]) {
			t.Errorf("%s: %v, passed %d of %d octets", tt.name, err, out.Len(), len(tt.in))
		}
	}
}

// FuzzCheckCall: a name with a slash is never passed on, and a path of another is
// written over.
func FuzzCheckCall(f *testing.F) {
	f.Add(aCall(progNFS, 3, 3, aHandle, data("etc")))
	f.Add(aCall(progNFS, 3, 14, aHandle, data("x"), aHandle, data("y")))
	f.Add(aCall(progMount, 3, 1, data("/srv/a")))
	f.Fuzz(func(t *testing.T, call []byte) {
		if err := checkCall(call, mayMount); err != nil {
			return
		}
		// What has passed once passes again, as it is.
		again := bytes.Clone(call)
		if err := checkCall(again, mayMount); err != nil || !bytes.Equal(again, call) {
			t.Errorf("second time: %x, %v", again, err)
		}
		prog, proc := binary.BigEndian.Uint32(call[12:]), binary.BigEndian.Uint32(call[20:])
		if prog == progMount && proc == 1 && bytes.HasSuffix(call, data("/srv/b")) && len(call) == len(aCall(0, 0, 0, data("/srv/b"))) {
			t.Errorf("asks for another's path: %x", call)
		}
	})
}
