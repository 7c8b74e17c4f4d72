package rescue

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// dep is of Debian's 6.1.0-56-cloud-amd64 and of Raspberry Pi's 6.12, shortened.
const dep = `kernel/net/sunrpc/sunrpc.ko:
kernel/fs/lockd/lockd.ko: kernel/fs/nfs_common/grace.ko kernel/net/sunrpc/sunrpc.ko
kernel/fs/nfs_common/grace.ko:
kernel/fs/nfs/nfs.ko: kernel/fs/lockd/lockd.ko kernel/fs/nfs_common/grace.ko kernel/net/sunrpc/sunrpc.ko kernel/fs/fscache/fscache.ko kernel/fs/netfs/netfs.ko
kernel/fs/fscache/fscache.ko: kernel/fs/netfs/netfs.ko
kernel/fs/netfs/netfs.ko:
kernel/drivers/net/usb/lan78xx.ko.xz: kernel/drivers/net/phy/microchip.ko.xz
kernel/drivers/net/phy/microchip.ko.xz:
kernel/drivers/net/phy/fixed-phy.ko.zst:
`

func TestModuleOrder(t *testing.T) {
	x := parseModules([]byte(dep), []byte("# Soft dependencies extracted from modules themselves.\nsoftdep lan78xx pre: fixed-phy nowhere post: nfs\nsoftdep cifs gcm\n"),
		[]byte("kernel/net/ipv6/ipv6.ko\nkernel/drivers/net/ethernet/broadcom/genet/genet.ko\n"))
	got := x.order([]string{"lan78xx", "nfs", "ipv6", "nfs", "none"})
	want := []string{
		"kernel/drivers/net/phy/microchip.ko.xz", "kernel/drivers/net/phy/fixed-phy.ko.zst", "kernel/drivers/net/usb/lan78xx.ko.xz",
		"kernel/fs/netfs/netfs.ko", "kernel/fs/fscache/fscache.ko", "kernel/net/sunrpc/sunrpc.ko", "kernel/fs/nfs_common/grace.ko",
		"kernel/fs/lockd/lockd.ko", "kernel/fs/nfs/nfs.ko",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant\n%q", got, want)
	}
	for name, want := range map[string]bool{"nfs": true, "genet": true, "ipv6": true, "fixed_phy": true, "macb": false} {
		if x.has(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func FuzzModules(f *testing.F) {
	f.Add([]byte(dep), []byte("softdep lan78xx pre: fixed-phy post: nfs\n"), []byte("kernel/net/ipv6/ipv6.ko\n"))
	f.Add([]byte("a.ko: b.ko\nb.ko: a.ko\n"), []byte("softdep a pre: b\nsoftdep b pre: a\n"), []byte(""))
	f.Add([]byte("../../etc/shadow.ko: /etc/passwd.ko\n"), []byte("softdep x pre:\n"), []byte("\n"))
	f.Fuzz(func(t *testing.T, dep, soft, builtin []byte) {
		x := parseModules(dep, soft, builtin)
		var all []string
		for n := range x.files {
			all = append(all, n)
		}
		slices.Sort(all)
		seen := map[string]bool{}
		for _, file := range x.order(all) {
			if seen[file] {
				t.Errorf("%q twice", file)
			}
			seen[file] = true
			if strings.HasPrefix(file, "/") || slices.Contains(strings.Split(file, "/"), "..") || strings.ContainsAny(file, "\n ") {
				t.Errorf("%q leads elsewhere", file)
			}
		}
	})
}

func TestUnpackModule(t *testing.T) {
	plain := append([]byte("\x7fELF"), bytes.Repeat([]byte("module "), 1000)...)
	pack := func(open func(io.Writer) (io.WriteCloser, error), content []byte) []byte {
		var b bytes.Buffer
		w, err := open(&b)
		if err == nil {
			_, err = w.Write(content)
			err = errors.Join(err, w.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	formats := map[string]func(io.Writer) (io.WriteCloser, error){
		".gz":  func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		".xz":  func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
		".zst": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
	}
	for ext, open := range formats {
		packed := pack(open, plain)
		if got, err := unpackModule(bytes.NewReader(packed), ext); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, %v", ext, len(got), err)
		}
		for what, b := range map[string][]byte{"cut": packed[:len(packed)/2], "empty": nil, "text": []byte("no such thing"), "no module": pack(open, []byte("text"))} {
			if got, err := unpackModule(bytes.NewReader(b), ext); err == nil {
				t.Errorf("%s, %s: %d bytes", ext, what, len(got))
			}
		}
	}
	if got, err := unpackModule(bytes.NewReader(plain), ".ko"); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	bomb := pack(formats[".gz"], append([]byte("\x7fELF"), make([]byte, maxModule)...))
	if _, err := unpackModule(bytes.NewReader(bomb), ".gz"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a bomb: %v", err)
	}
}

func TestKernels(t *testing.T) {
	m := debian()
	for _, v := range []string{"6.6.31+rpt-rpi-v8", "6.6.31+rpt-rpi-2712", "6.1.21-v7+"} {
		modules(m, v, map[string]string{"kernel/net/ipv6/ipv6.ko": ""})
	}
	m["lib/modules/not one/modules.dep"] = ""
	m["lib/modules/none/readme"] = ""
	tree := openTree(t, makeImage(t, m))
	for _, tt := range []struct {
		boot string
		want []string
	}{
		{"", []string{"6.1.0-9-amd64", "6.1.21-v7+", "6.6.31+rpt-rpi-2712", "6.6.31+rpt-rpi-v8"}},
		{"vmlinuz-6.1.0-9-amd64", []string{"6.1.0-9-amd64"}},
		{"vmlinuz-1", []string{"6.1.0-9-amd64", "6.1.21-v7+", "6.6.31+rpt-rpi-2712", "6.6.31+rpt-rpi-v8"}},
	} {
		if got, err := tree.kernels(tt.boot); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, %v", tt.boot, got, err)
		}
	}
}
