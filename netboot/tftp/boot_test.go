package tftp_test

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"picloud/netboot/bootfs"
	"picloud/netboot/bootfs/order"
	"picloud/netboot/tftp"
)

// folderTree serves one Pi's boot folder to everyone.
type folderTree struct{ *bootfs.Folder }

func (f folderTree) Open(_ context.Context, r tftp.Request) (tftp.File, error) {
	file, err := f.Folder.Open(r.Name)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// serve starts a server with a boot folder that has an image, and returns its
// port.
func serve(t *testing.T, f order.Family, image string) string {
	t.Helper()
	return serveSpec(t, bootfs.Spec{Family: f, Image: image})
}

// serveSpec starts a server with the boot folder of Pi p01, and returns its port.
func serveSpec(t *testing.T, spec bootfs.Spec) string {
	t.Helper()
	spec.Serial = "b66c4c16"
	spec.Cmdline = bootfs.Cmdline{
		Server:     netip.MustParseAddr("127.64.0.1"),
		Client:     netip.MustParsePrefix("127.64.0.2/30"),
		Hostname:   "p01",
		ExportPath: "/srv/pi/p01",
	}
	folder, err := bootfs.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tftp.Listen(t.Context(), "0.0.0.0:0", "lo")
	if err != nil {
		t.Fatal(err)
	}
	s, err := tftp.New(tftp.Config{Conn: conn, Tree: folderTree{folder}})
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return port
}

// image is a folder with a file for each name that some family needs.
func image(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range order.Families() {
		for _, group := range order.Need(f) {
			for _, name := range group {
				b := bytes.Repeat([]byte(name), 500)
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return dir
}

// Each family gets all it needs when it asks as it does, and "file not found" at
// once for the rest.
func TestFamiliesBoot(t *testing.T) {
	dir := image(t)
	for _, f := range order.Families() {
		t.Run(string(f), func(t *testing.T) {
			port := serve(t, f, dir)
			got := make(map[string]bool)
			for _, r := range order.Sequence(f) {
				if boot(t, port, r) {
					got[r.Name] = true
				} else if !r.Optional {
					t.Errorf("%s was not served", r.Name)
				}
			}
			for _, group := range order.Need(f) {
				if !got[group[0]] {
					t.Errorf("%s was not served", group[0])
				}
			}
			for _, name := range []string{"config.txt", "cmdline.txt"} {
				if !got[name] {
					t.Errorf("%s was not served", name)
				}
			}
		})
	}
}

// boot sends one request as a boot ROM does, and tells whether the file came. All
// requests come from the same port.
func boot(t *testing.T, port string, r order.Request) bool {
	t.Helper()
	n, _ := strconv.Atoi(port)
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 64, 0, 2), Port: 49152})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	p := append([]byte{0, 1}, r.Path("b66c4c16/")+"\x00octet\x00"...)
	if r.Options.TSize {
		p = append(p, "tsize\x000\x00"...)
	}
	blk := 512
	if r.Options.BlkSize != 0 {
		blk = r.Options.BlkSize
		p = append(p, "blksize\x00"+strconv.Itoa(blk)+"\x00"...)
	}
	if _, err := u.WriteTo(p, &net.UDPAddr{IP: net.IPv4(127, 64, 0, 1), Port: n}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2000)
	for {
		_ = u.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, from, err := u.ReadFrom(buf)
		if err != nil {
			t.Fatalf("%s: %v", r.Name, err)
		}
		switch buf[1] {
		case 5:
			if string(buf[:n]) != "\x00\x05\x00\x01file not found\x00" {
				t.Errorf("%s: %q", r.Name, buf[:n])
			}
			return false
		case 6:
			p = []byte{0, 4, 0, 0}
		case 3:
			p = []byte{0, 4, buf[2], buf[3]}
		}
		if r.Probe {
			p = []byte("\x00\x05\x00\x00Early terminate\x00")
		}
		if _, err := u.WriteTo(p, from); err != nil {
			t.Fatal(err)
		}
		if r.Probe || buf[1] == 3 && n < 4+blk {
			return true
		}
	}
}

// Other people's clients get the same files, where they are installed.
func TestOtherClients(t *testing.T) {
	dir := image(t)
	port := serve(t, order.Pi4B, dir)
	want, err := os.ReadFile(filepath.Join(dir, "kernel8.img"))
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	for _, args := range [][]string{
		{"tftp", "-m", "binary", "127.64.0.1", port, "-c", "get", "kernel8.img", out},
		{"curl", "-s", "--max-time", "5", "-o", out, "tftp://127.64.0.1:" + port + "/kernel8.img"},
		{"curl", "-s", "--max-time", "5", "--tftp-blksize", "1468", "-o", out, "tftp://127.64.0.1:" + port + "/b66c4c16/kernel8.img"},
		{"curl", "-s", "--max-time", "5", "--tftp-no-options", "-o", out, "tftp://127.64.0.1:" + port + "/kernel8.img"},
		{"busybox", "tftp", "-g", "-b", "1024", "-r", "kernel8.img", "-l", out, "127.64.0.1", port},
	} {
		if _, err := exec.LookPath(args[0]); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err, ": apt install tftp-hpa curl busybox")
			}
			t.Logf("%s is not installed", args[0])
			continue
		}
		_ = os.Remove(out)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		text, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
		cancel()
		got, _ := os.ReadFile(out)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %d octets, %v: %s", args, len(got), err, text)
		}
	}
}
