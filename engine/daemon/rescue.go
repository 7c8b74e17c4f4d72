package daemon

import (
	"cmp"
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
	"picloud/hw/volume"
	"picloud/netboot/bootfs"
	"picloud/netboot/rootfs"
	"picloud/netboot/rootfs/image"
	"picloud/netboot/rootfs/netbootable"
	"picloud/netboot/rootfs/rescue"
)

// rescues keep what Pis boot in rescue mode, below the state folder:
// rescue/base/IMAGE/DIGEST.img is what all Pis of an image share, and
// rescue/pi/PI.json what is one Pi's own, its private host key included.
type rescues struct {
	dir string
	// building holds one: a build takes the machine for ten seconds.
	building chan struct{}
}

func newRescues(state string) rescues {
	return rescues{dir: filepath.Join(state, "rescue"), building: make(chan struct{}, 1)}
}

// rescueBase is the shared part, as it was built.
type rescueBase struct {
	File string      `json:"file"`
	Boot rescue.Boot `json:"boot"`
}

// rescueRecord is what one Pi boots.
type rescueRecord struct {
	Volume string        `json:"volume"` // that it mounts
	Image  string        `json:"image"`  // whose kernel it boots
	Base   rescueBase    `json:"base"`
	Person rescue.Person `json:"person"`
}

// Rescue is engine.Roots'. The small system is built of the image alone: the
// root may be what is broken, and is its customer's.
func (r *roots) Rescue(ctx context.Context, pi engine.Pi, img string, who engine.Person) ([]engine.HostKey, error) {
	base, err := r.rescueBase(ctx, img)
	if err != nil {
		return nil, err
	}
	private, public, err := netbootable.NewHostKey(who.Hostname + "-rescue")
	if err != nil {
		return nil, err
	}
	port := uint16(0)
	if r.exports.port != standardNFS || r.exports.mount != 0 {
		port = r.exports.port
	}
	record := rescueRecord{Volume: pi.Volume, Image: img, Base: base, Person: rescue.Person{
		Person: rootfs.Person{
			Hostname: who.Hostname, AuthorizedKeys: who.Keys,
			Network: rootfs.Network{Address: who.Address, Gateway: who.Gateway}, Resolvers: r.guest.Resolvers,
		},
		Address: pi.Segment.Addr, HostKey: private,
		Root: rescue.Root{
			Server: pi.Segment.Server, Path: r.exportPath(pi.Name), Version: nfsVersion, Port: port, MountPort: r.exports.mount,
		},
	}}
	if err := record.Person.Validate(); err != nil {
		return nil, err
	}
	if err := r.rescues.write(string(pi.Name), record); err != nil {
		return nil, err
	}
	return []engine.HostKey{{Type: public.Type, Fingerprint: public.Fingerprint}}, nil
}

// rescueBase returns what is shared by all Pis with this image. It is built
// again when the image is another, or picloud builds it otherwise.
func (r *roots) rescueBase(ctx context.Context, img string) (rescueBase, error) {
	select {
	case r.rescues.building <- struct{}{}:
		defer func() { <-r.rescues.building }()
	case <-ctx.Done():
		return rescueBase{}, context.Cause(ctx)
	}
	digest, err := r.imageDigest(img)
	if err != nil {
		return rescueBase{}, err
	}
	dir := filepath.Join(r.rescues.dir, "base", img)
	base := rescueBase{File: filepath.Join(dir, digest+".img")}
	about := filepath.Join(dir, digest+".json")
	if b, err := os.ReadFile(about); err == nil && json.Unmarshal(b, &base) == nil {
		if _, err := os.Stat(base.File); err == nil {
			return base, nil
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return rescueBase{}, err
	}
	err = r.readImage(ctx, img, func(top string) error {
		built, err := rescue.Build(ctx, rescue.Options{Image: top, Out: base.File})
		for _, w := range built.Warnings {
			r.log.Warn("of the rescue system: "+w, "image", img)
		}
		base.Boot = built.Boot
		return err
	})
	if err != nil {
		return rescueBase{}, err
	}
	b, err := json.Marshal(base)
	if err != nil {
		return rescueBase{}, err
	}
	if err := writeWhole(about, b, 0o600); err != nil {
		return rescueBase{}, err
	}
	r.rescues.sweep(dir, digest, r.log.Warn)
	return base, nil
}

// imageDigest names an image's content: where it came from, or if that is not
// known, what its kernels are.
func (r *roots) imageDigest(img string) (string, error) {
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
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s\n%s\n%v", rescue.Recipe(rescue.Rescue), dir, info.SHA256, info.Added, changed.UTC(), boot))
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

// rescueFolder is the boot folder of a Pi in rescue mode. Nothing in it is of
// the customer's root.
func (r *roots) rescueFolder(e engine.BootEntry) (*bootfs.Folder, error) {
	record, err := r.rescues.read(string(e.Pi))
	if err != nil {
		return nil, fmt.Errorf("boot folder of %s, in rescue: %w", e.Pi, err)
	}
	boot := record.Base.Boot
	spec := r.bootSpec(e)
	spec.Root, spec.Folders = r.imageFolder(record.Image), boot.Folders
	spec.Config.Kernel, spec.Config.Extra = boot.Kernel, boot.ConfigLines
	spec.Cmdline.Initramfs, spec.Cmdline.Memory = true, true
	spec.Cmdline.Extra = slices.DeleteFunc(slices.Clone(boot.Args), func(arg string) bool {
		return strings.HasPrefix(arg, "rdinit=") // Memory has it
	})
	spec.Files = map[string]func() (bootfs.Content, error){boot.Initramfs: func() (bootfs.Content, error) {
		who := record.Person
		who.Clock = time.Now()
		return rescue.Open(record.Base.File, who)
	}}
	return bootfs.New(spec)
}

var errNoRescue = errors.New("no rescue system has been made for it (take it out of rescue, and in again)")

func (r rescues) path(pi string) (string, error) {
	if err := volume.CheckName(pi); err != nil {
		return "", err
	}
	return filepath.Join(r.dir, "pi", pi+".json"), nil
}

func (r rescues) read(pi string) (record rescueRecord, err error) {
	path, err := r.path(pi)
	if err != nil {
		return record, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return record, errNoRescue
	}
	if err == nil {
		err = json.Unmarshal(b, &record)
	}
	return record, err
}

func (r rescues) write(pi string, record rescueRecord) error {
	path, err := r.path(pi)
	if err != nil {
		return err
	}
	b, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return writeWhole(path, b, 0o600)
}

// all are the records of every Pi. Those that cannot be read are left out.
func (r rescues) all() map[string]rescueRecord {
	entries, err := os.ReadDir(filepath.Join(r.dir, "pi"))
	if err != nil {
		return nil
	}
	list := map[string]rescueRecord{}
	for _, e := range entries {
		if pi, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			if record, err := r.read(pi); err == nil {
				list[pi] = record
			}
		}
	}
	return list
}

// forget deletes what was made to mount a volume that is no more.
func (r rescues) forget(name string) error {
	var errs []error
	for pi, record := range r.all() {
		if record.Volume != name {
			continue
		}
		path, err := r.path(pi)
		errs = append(errs, cmp.Or(err, os.Remove(path)))
	}
	return errors.Join(errs...)
}

// sweep deletes the bases of an image that no Pi boots any more.
func (r rescues) sweep(dir, digest string, warn func(string, ...any)) {
	used := map[string]bool{digest: true}
	for _, record := range r.all() {
		used[strings.TrimSuffix(filepath.Base(record.Base.File), ".img")] = true
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		name := strings.TrimSuffix(strings.TrimSuffix(e.Name(), ".img"), ".json")
		if used[name] {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			warn("an old rescue system stays", "err", err)
		}
	}
}
