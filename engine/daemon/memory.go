package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/hw/volume"
	"picloud/netboot/bootfs"
	"picloud/netboot/rootfs/image"
	"picloud/netboot/rootfs/netbootable"
	"picloud/netboot/rootfs/rescue"
)

// memories keep what Pis run from memory, below a folder of the state folder:
// base/IMAGE/DIGEST.img is what all Pis of an image share, and pi/PI.json one
// Pi's own record, with what nobody else may know.
type memories[R memoryRecord] struct {
	dir    string
	system rescue.System
	// building holds one: a build takes the machine for ten seconds.
	building chan struct{}
}

// memoryRecord is what one Pi boots.
type memoryRecord interface{ base() memoryBase }

// memoryBase is the shared part, as it was built.
type memoryBase struct {
	File string      `json:"file"`
	Boot rescue.Boot `json:"boot"`
}

func newMemories[R memoryRecord](state string, s rescue.System) memories[R] {
	return memories[R]{dir: filepath.Join(state, string(s)), system: s, building: make(chan struct{}, 1)}
}

// baseOf returns what is shared by all Pis with this image. It is built again when
// the image is another, or picloud builds it otherwise.
func baseOf[R memoryRecord](ctx context.Context, r *roots, m *memories[R], img string) (memoryBase, error) {
	select {
	case m.building <- struct{}{}:
		defer func() { <-m.building }()
	case <-ctx.Done():
		return memoryBase{}, context.Cause(ctx)
	}
	digest, err := r.imageDigest(img, m.system)
	if err != nil {
		return memoryBase{}, err
	}
	dir := filepath.Join(m.dir, "base", img)
	base := memoryBase{File: filepath.Join(dir, digest+".img")}
	about := filepath.Join(dir, digest+".json")
	if b, err := os.ReadFile(about); err == nil && json.Unmarshal(b, &base) == nil {
		if _, err := os.Stat(base.File); err == nil {
			return base, nil
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return memoryBase{}, err
	}
	err = r.readImage(ctx, img, func(top string) error {
		built, err := rescue.Build(ctx, rescue.Options{
			Image: top, Out: base.File, System: m.system, Bare: m.system == rescue.Examination && img == config.BuiltinImage,
		})
		for _, w := range built.Warnings {
			r.log.Warn("of a system in memory: "+w, "system", m.system, "image", img)
		}
		base.Boot = built.Boot
		return err
	})
	if err != nil {
		return memoryBase{}, err
	}
	b, err := json.Marshal(base)
	if err != nil {
		return memoryBase{}, err
	}
	if err := writeWhole(about, b, 0o600); err != nil {
		return memoryBase{}, err
	}
	m.sweep(dir, digest, r.log.Warn)
	return base, nil
}

// imageDigest names an image's content: where it came from, or if that is not
// known, what its kernels are.
func (r *roots) imageDigest(img string, s rescue.System) (string, error) {
	if err := volume.CheckName(img); err != nil {
		return "", err
	}
	dir := r.imageFolder(img)
	info, err := image.Show(filepath.Dir(dir), filepath.Base(dir))
	if errors.Is(err, image.ErrInvalidName) { // a folder that the configuration names
		info, err = image.Info{}, nil
	}
	if err != nil {
		return "", err
	}
	boot, err := netbootable.Look(dir)
	if err != nil && !errors.Is(err, netbootable.ErrNotRoot) {
		return "", err
	}
	changed := time.Time{}
	if stat, err := os.Stat(dir); err == nil && info.SHA256 == "" {
		changed = stat.ModTime()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s\n%s\n%v", rescue.Recipe(s), dir, info.SHA256, info.Added, changed.UTC(), boot))
	return hex.EncodeToString(sum[:8]), nil
}

// imageReader is a driver whose images are not folders on this host.
type imageReader interface {
	// ReadImage calls f with a folder that has the image's files, to be read
	// and only until f returns.
	ReadImage(ctx context.Context, image string, f func(dir string) error) error
}

func (r *roots) readImage(ctx context.Context, img string, f func(dir string) error) error {
	if d, ok := r.volumes.(imageReader); ok {
		return d.ReadImage(ctx, img, f)
	}
	return f(r.imageFolder(img))
}

// memoryFolder is the boot folder of a Pi that runs a system from memory: all is
// of the image, and what is made.
func (r *roots) memoryFolder(e engine.BootEntry, img string, base memoryBase, args []string, initramfs func() (bootfs.Content, error)) (*bootfs.Folder, error) {
	boot := base.Boot
	spec := r.bootSpec(e)
	spec.Root, spec.Folders = r.imageFolder(img), boot.Folders
	spec.Config.Kernel, spec.Config.Extra = boot.Kernel, boot.ConfigLines
	spec.Cmdline.Initramfs, spec.Cmdline.Memory = true, true
	spec.Cmdline.Extra = slices.DeleteFunc(slices.Concat(boot.Args, args), func(arg string) bool {
		return strings.HasPrefix(arg, "rdinit=") // Memory has it
	})
	spec.Files = map[string]func() (bootfs.Content, error){boot.Initramfs: initramfs}
	return bootfs.New(spec)
}

// errNoRecord means that there is nothing that the Pi could run from memory.
var errNoRecord = errors.New("nothing has been made for it to run from memory")

func (m memories[R]) path(pi string) (string, error) {
	if err := volume.CheckName(pi); err != nil {
		return "", err
	}
	return filepath.Join(m.dir, "pi", pi+".json"), nil
}

func (m memories[R]) read(pi string) (record R, err error) {
	path, err := m.path(pi)
	if err != nil {
		return record, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return record, errNoRecord
	}
	if err == nil {
		err = json.Unmarshal(b, &record)
	}
	return record, err
}

func (m memories[R]) write(pi string, record R) error {
	path, err := m.path(pi)
	if err != nil {
		return err
	}
	b, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return writeWhole(path, b, 0o600)
}

func (m memories[R]) remove(pi string) error {
	path, err := m.path(pi)
	if err != nil {
		return err
	}
	return os.Remove(path)
}

// all are the records of every Pi. Those that cannot be read are left out.
func (m memories[R]) all() map[string]R {
	entries, err := os.ReadDir(filepath.Join(m.dir, "pi"))
	if err != nil {
		return nil
	}
	list := map[string]R{}
	for _, e := range entries {
		if pi, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			if record, err := m.read(pi); err == nil {
				list[pi] = record
			}
		}
	}
	return list
}

// sweep deletes the bases of an image that no Pi boots any more.
func (m memories[R]) sweep(dir, digest string, warn func(string, ...any)) {
	used := map[string]bool{digest: true}
	for _, record := range m.all() {
		used[strings.TrimSuffix(filepath.Base(record.base().File), ".img")] = true
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		name := strings.TrimSuffix(strings.TrimSuffix(e.Name(), ".img"), ".json")
		if used[name] {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			warn("an old system in memory stays", "system", m.system, "err", err)
		}
	}
}
