package daemon

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/hw/volume"
	"picloud/netboot/rootfs/image"
)

// rootTarball is a root just large enough to be taken for one.
func rootTarball(t *testing.T) string {
	t.Helper()
	shell, err := os.ReadFile("/bin/sh") // tells the processor
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct{ name, text string }{
		{"etc/", ""}, {"bin/", ""}, {"boot/", ""}, {"boot/firmware/", ""}, {"same/", ""}, {"same/same", "x"},
		{"etc/os-release", "ID=debian\nVERSION_ID=12\nPRETTY_NAME=\"Debian 12\"\n"},
		{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"},
		{"etc/fstab", "proc /proc proc defaults 0 0\nPARTUUID=1-2 / ext4 defaults 0 1\n"},
		{"bin/sh", string(shell)}, {"boot/firmware/kernel8.img", "kernel"},
	} {
		h := &tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.text)), Typeflag: tar.TypeReg}
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "root.tar")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func volumes(t *testing.T, cfg *config.Config) volume.Driver {
	t.Helper()
	driver, err := openVolumes(t.Context(), cfg, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	return driver
}

func TestImages(t *testing.T) {
	cfg := config.Default()
	cfg.State = t.TempDir()
	source := rootTarball(t)
	// Its own name is that of a folder in it.
	added, err := AddImage(t.Context(), cfg, image.Options{Name: "same", Source: source}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if added.Name != "same" || added.Release.Pretty != "Debian 12" || len(added.Changes) == 0 {
		t.Errorf("added %+v", added)
	}
	fstab, err := os.ReadFile(filepath.Join(cfg.State, "images", "same", "etc", "fstab"))
	if err != nil || strings.Contains(string(fstab), "ext4") {
		t.Errorf("fstab of the image: %q, %v", fstab, err)
	}
	if l, err := layoutOf(t.Context(), cfg, volumes(t, cfg)); err != nil || len(l.Images) != 1 || l.Images[0].Name != "same" {
		t.Errorf("layout %+v, %v", l.Images, err)
	}
	for label, want := range map[string]string{"": added.Release.Pretty, "Ours": "Ours"} {
		named := *cfg
		named.Images = []config.Image{{Name: "same", Label: label}}
		l, err := layoutOf(t.Context(), &named, volumes(t, cfg))
		if err != nil || len(l.Images) != 1 || !strings.HasPrefix(l.Images[0].Label, want) || !l.Images[0].Added.Equal(added.Added) {
			t.Errorf("named, with label %q: layout %+v, %v", label, l.Images, err)
		}
	}
	if _, err := AddImage(t.Context(), cfg, image.Options{Name: "same", Source: source}, 0); !errors.Is(err, image.ErrExists) {
		t.Errorf("added twice: %v", err)
	}

	driver := volumes(t, cfg)
	if err := driver.Clone(t.Context(), "same", "a3-001-1", nil); err != nil {
		t.Fatal(err)
	}
	if err := RemoveImage(t.Context(), cfg, "same"); !errors.Is(err, image.ErrInUse) || !strings.Contains(err.Error(), "a3-001-1") {
		t.Errorf("removed while a root is made from it: %v", err)
	}
	if err := driver.Remove(t.Context(), "a3-001-1"); err != nil {
		t.Fatal(err)
	}
	if err := RemoveImage(t.Context(), cfg, "same"); err != nil {
		t.Error(err)
	}
	if list, err := Images(t.Context(), cfg); err != nil || len(list) != 0 {
		t.Errorf("left %+v, %v", list, err)
	}
}

func TestRefusedImageLeavesNothing(t *testing.T) {
	cfg := config.Default()
	cfg.State = t.TempDir()
	whole, err := os.ReadFile(rootTarball(t))
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.tar")
	if err := os.WriteFile(cut, whole[:len(whole)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]image.Options{
		"cut off":      {Name: "x", Source: cut},
		"wrong digest": {Name: "x", Source: rootTarball(t), SHA256: strings.Repeat("0", 64)},
		"name":         {Name: "../x", Source: rootTarball(t)},
	} {
		if _, err := AddImage(t.Context(), cfg, o, 0); err == nil {
			t.Errorf("%s: was taken", name)
		}
		if entries, err := os.ReadDir(filepath.Join(cfg.State, "images")); err != nil || len(entries) != 0 {
			t.Errorf("%s: left %v, %v", name, entries, err)
		}
	}
}

// TestImageOfARootThatDenies: what a customer writes into their root does not
// give its image free, nor does a crash before the root is there.
func TestImageOfARootThatDenies(t *testing.T) {
	r, _ := newRoots(t, nil)
	cfg := config.Default()
	cfg.State = r.state
	for _, name := range []string{"mine", "other"} {
		if _, err := AddImage(t.Context(), cfg, image.Options{Name: name, Source: rootTarball(t)}, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Clone(t.Context(), "mine", "a-1", 0, nil); err != nil {
		t.Fatal(err)
	}
	dir, err := r.volumes.Path("a-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, imageStamp), []byte(`{"name":"other"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := RemoveImage(t.Context(), cfg, "mine"); !errors.Is(err, image.ErrInUse) || !strings.Contains(err.Error(), "a-1") {
		t.Errorf("the image of a root that denies it: %v", err)
	}
	// Personalise keeps what is recorded.
	if _, err := r.Personalise(t.Context(), "a-1", engine.Person{Hostname: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := RemoveImage(t.Context(), cfg, "mine"); !errors.Is(err, image.ErrInUse) {
		t.Errorf("after it was made bootable: %v", err)
	}
	if err := r.records.write("a-2", bootRecord{Image: "other"}); err != nil { // and then the power went
		t.Fatal(err)
	}
	if err := RemoveImage(t.Context(), cfg, "other"); !errors.Is(err, image.ErrInUse) || !strings.Contains(err.Error(), "a-2") {
		t.Errorf("the image of a root that is being made: %v", err)
	}
	if err := errors.Join(r.Remove(t.Context(), "a-1"), r.Remove(t.Context(), "a-2")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(RemoveImage(t.Context(), cfg, "mine"), RemoveImage(t.Context(), cfg, "other")); err != nil {
		t.Error(err)
	}
}
