package daemon

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/netboot/bootfs"
	"picloud/netboot/rootfs/rescue"
)

const rescueKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII96UmRBx1+s+V/Y8fg0QEPahjTXpgS5orqasNHvpl51"

// TestRescue boots the image's kernel and a system made for the Pi, whatever its
// customer has made of the root.
func TestRescue(t *testing.T) {
	image := DebianFolder(t)
	r, _ := newRoots(t, func(c *config.Config, e *exporter) {
		c.Images = append(c.Images, config.Image{Name: "debian", Path: image})
		e.mount = 20048
	})
	if err := r.Clone(t.Context(), "debian", "a-1", 0, nil); err != nil {
		t.Fatal(err)
	}
	root, err := r.volumes.Path("a-1")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(root, "boot/vmlinuz-6.1.0-1-arm64"), "customer's kernel")
	writeFile(t, filepath.Join(root, "boot/initramfs-rescue"), "customer's initramfs")

	pi := somePi("a")
	pi.Volume = "a-1"
	who := engine.Person{Hostname: "shop", Keys: []string{rescueKey + " a"}, Address: netip.MustParsePrefix("2001:db8::2/64"), Gateway: netip.MustParseAddr("fe80::1")}
	// There is nothing in this image to build of.
	if _, err := r.Rescue(t.Context(), pi, "debian", who); !errors.Is(err, rescue.ErrMissing) {
		t.Fatalf("built of nothing: %v", err)
	}
	if _, err := r.Rescue(t.Context(), pi, "../debian", who); err == nil {
		t.Fatal("a name that leads out was taken")
	}
	entry := engine.BootEntry{Pi: "a", Segment: pi.Segment, Model: engine.Model4B, Volume: "a-1", Image: "debian", Host: "shop", Rescue: true}
	if _, err := r.bootFolder(entry); !errors.Is(err, errNoRecord) {
		t.Errorf("boots a rescue that is not there: %v", err)
	}

	base := plantBase(t, r, "debian")
	keys, err := r.Rescue(t.Context(), pi, "debian", who)
	if err != nil || len(keys) != 1 || !strings.HasPrefix(keys[0].Fingerprint, "SHA256:") || keys[0].Type != "ssh-ed25519" {
		t.Fatalf("keys %v, %v", keys, err)
	}
	f, err := r.bootFolder(entry)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := f.Generated("cmdline.txt"); text != "console=serial0,115200 console=tty1 rdinit=/init panic=10\n" {
		t.Errorf("cmdline.txt: %s", text)
	}
	if text, _ := f.Generated("config.txt"); !strings.Contains(text, "kernel=vmlinuz-6.1.0-1-arm64") || !strings.Contains(text, "initramfs initramfs-rescue followkernel") {
		t.Errorf("config.txt: %s", text)
	}
	if got := readBoot(t, f, "vmlinuz-6.1.0-1-arm64"); string(got) != "k" {
		t.Errorf("kernel %q, want the image's", got)
	}
	got := readBoot(t, f, "initramfs-rescue")
	for _, want := range []string{rescueKey, "shop", "10.64.0.2/30", "2001:db8::2/64", "/srv/pi/a", "vers=3", "mountport=20048", "OPENSSH PRIVATE KEY"} {
		if !bytes.HasPrefix(got, base) || !bytes.Contains(got[len(base):], []byte(want)) {
			t.Errorf("no %q behind the base", want)
		}
	}
	entry.Rescue = false
	if f, err = r.bootFolder(entry); err != nil {
		t.Fatal(err)
	}
	if got := readBoot(t, f, "vmlinuz-6.1.0-1-arm64"); string(got) != "customer's kernel" {
		t.Errorf("out of rescue it boots %q", got)
	}

	who.Keys = nil
	if _, err := r.Rescue(t.Context(), pi, "debian", who); !errors.Is(err, rescue.ErrInvalidPerson) {
		t.Errorf("a rescue that nobody can enter: %v", err)
	}
	if err := r.Remove(t.Context(), "a-1"); err != nil {
		t.Fatal(err)
	}
	if left := r.rescues.all(); len(left) != 0 {
		t.Errorf("private keys are left: %v", left)
	}
}

// plantBase puts a base in place as if it had been built, and an old one beside it.
func plantBase(t *testing.T, r *roots, image string) []byte {
	t.Helper()
	digest, err := r.imageDigest(image, rescue.Rescue)
	if err != nil {
		t.Fatal(err)
	}
	content := []byte("base")
	dir := filepath.Join(r.rescues.dir, "base", image)
	writeFile(t, filepath.Join(dir, digest+".img"), string(content))
	writeFile(t, filepath.Join(dir, digest+".json"), `{"file":"`+filepath.Join(dir, digest+".img")+`","boot":{
		"Kernel":"vmlinuz-6.1.0-1-arm64","Initramfs":"initramfs-rescue","ConfigLines":["initramfs initramfs-rescue followkernel"],"Args":["rdinit=/init","panic=10"]}}`)
	return content
}

func readBoot(t *testing.T, f *bootfs.Folder, name string) []byte {
	t.Helper()
	file, err := f.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	b, err := io.ReadAll(file)
	if err != nil || int64(len(b)) != file.Size() {
		t.Errorf("%s: %d octets, want %d; %v", name, len(b), file.Size(), err)
	}
	return b
}

// TestRescueSweep: bases that a Pi boots stay, the others go.
func TestRescueSweep(t *testing.T) {
	r, _ := newRoots(t, nil)
	dir := filepath.Join(r.rescues.dir, "base", "debian")
	for _, name := range []string{"new", "used", "old"} {
		writeFile(t, filepath.Join(dir, name+".img"), "")
		writeFile(t, filepath.Join(dir, name+".json"), "{}")
	}
	if err := r.rescues.write("a", rescueRecord{Base: memoryBase{File: filepath.Join(dir, "used.img")}}); err != nil {
		t.Fatal(err)
	}
	r.rescues.sweep(dir, "new", t.Errorf)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 4 || strings.Contains(strings.Join(left, " "), "old") {
		t.Errorf("left %v, %v", left, err)
	}
	info, err := os.Stat(filepath.Join(r.rescues.dir, "pi", "a.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the private key's file: %v, %v", info, err)
	}
}

// TestKeepBootFiles: of an image that is a disk, what a Pi boots is kept.
func TestKeepBootFiles(t *testing.T) {
	image, parent := DebianFolder(t), t.TempDir()
	writeFile(t, filepath.Join(image, "etc/picloud-image.json"), `{"name":"debian","source":"x.img"}`)
	writeFile(t, filepath.Join(image, "usr/lib/linux-image-6.1.0-1-arm64/broadcom/bcm2711-rpi-4-b.dtb"), "tree")
	for range 2 {
		if err := keepBootFiles(image, parent, "debian"); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"boot/vmlinuz-6.1.0-1-arm64": "k", "usr/lib/linux-image-6.1.0-1-arm64/broadcom/bcm2711-rpi-4-b.dtb": "tree",
	} {
		if b, err := os.ReadFile(filepath.Join(parent, "debian", name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if entries, err := os.ReadDir(parent); err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
	if err := keepBootFiles(image, parent, "../x"); err == nil {
		t.Error("a name that leads out was taken")
	}
}
