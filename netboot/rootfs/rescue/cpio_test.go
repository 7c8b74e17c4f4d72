package rescue

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// small is what `cpio -o -H newc` writes, apart from inode numbers and times.
const small = "" +
	"070701" + "00000001" + "000041ed" + "00000000" + "00000000" + "00000002" + "00000000" + "00000000" +
	"00000000" + "00000000" + "00000000" + "00000000" + "00000004" + "00000000" + "dev\x00" + "\x00\x00" +
	"070701" + "00000002" + "00002180" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
	"00000000" + "00000000" + "00000005" + "00000001" + "0000000c" + "00000000" + "dev/console\x00" + "\x00\x00" +
	"070701" + "00000003" + "000081ed" + "00000000" + "00000000" + "00000001" + "00000000" + "00000005" +
	"00000000" + "00000000" + "00000000" + "00000000" + "00000005" + "00000000" + "init\x00" + "\x00" + "#!/x\n" + "\x00\x00\x00" +
	"070701" + "00000004" + "0000a1ff" + "00000000" + "00000000" + "00000001" + "00000000" + "00000007" +
	"00000000" + "00000000" + "00000000" + "00000000" + "00000004" + "00000000" + "bin\x00" + "\x00\x00" + "usr/bin" + "\x00" +
	"070701" + "00000000" + "00000000" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
	"00000000" + "00000000" + "00000000" + "00000000" + "0000000b" + "00000000" + "TRAILER!!!\x00" + "\x00\x00\x00"

func writeSmall(w io.Writer) error {
	a := newArchive(w)
	var errs []error
	for _, m := range []struct {
		member
		data string
	}{
		{member{name: "dev", mode: unix.S_IFDIR | 0o755}, ""},
		{member{name: "dev/console", mode: unix.S_IFCHR | 0o600, rdev: unix.Mkdev(5, 1)}, ""},
		{member{name: "init", mode: unix.S_IFREG | 0o755, size: 5}, "#!/x\n"},
		{member{name: "bin", mode: unix.S_IFLNK | 0o777, size: 7}, "usr/bin"},
	} {
		errs = append(errs, a.next(m.member))
		for i := range m.data { // in parts
			_, err := a.Write([]byte(m.data[i : i+1]))
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, a.close())...)
}

func TestArchive(t *testing.T) {
	var b bytes.Buffer
	if err := writeSmall(&b); err != nil || b.String() != small {
		t.Fatalf("%v\n%q\nwant\n%q", err, b.String(), small)
	}
	if b.Len()%4 != 0 {
		t.Errorf("%d bytes", b.Len())
	}
	if all := unpack(t, b.Bytes()); len(all) != 4 || all["init"].data != "#!/x\n" {
		t.Errorf("%+v", all)
	}
	for _, tool := range [][]string{{"cpio", "-tv", "--quiet"}, {"bsdtar", "-tvf", "-"}} {
		if _, err := exec.LookPath(tool[0]); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err, ": apt install cpio libarchive-tools")
			}
			t.Logf("not checked with %s", tool[0])
			continue
		}
		cmd := exec.Command(tool[0], tool[1:]...)
		cmd.Stdin = bytes.NewReader(b.Bytes())
		out, err := cmd.CombinedOutput()
		for _, want := range []string{"drwxr-xr-x", "crw-------", "dev/console", "-rwxr-xr-x", "bin -> usr/bin"} {
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%s: no %q: %v\n%s", tool[0], want, err, out)
			}
		}
	}
}

func TestArchiveMisuse(t *testing.T) {
	file := func(size int64) member { return member{name: "f", mode: unix.S_IFREG, size: size} }
	full := errors.New("full")
	for name, use := range map[string]func(*archive) error{
		"no name":        func(a *archive) error { return a.next(member{}) },
		"long name":      func(a *archive) error { return a.next(member{name: strings.Repeat("x", maxNewcName+1)}) },
		"negative size":  func(a *archive) error { return a.next(file(-1)) },
		"too large":      func(a *archive) error { return a.next(file(maxNewcFile + 1)) },
		"too much":       func(a *archive) error { _, err := a.Write([]byte("x")); return err },
		"file not whole": func(a *archive) error { return errors.Join(a.next(file(1)), a.next(file(1))) },
		"last not whole": func(a *archive) error { return errors.Join(a.next(file(1)), a.close()) },
		"writer fails": func(a *archive) error {
			a.w = failing{full}
			err := a.next(file(1))
			if !errors.Is(err, full) {
				return nil
			}
			return a.close()
		},
	} {
		if err := use(newArchive(io.Discard)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
