package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"picloud/engine"
	"picloud/netboot/bootfs"
	"picloud/netboot/rootfs"
	"picloud/netboot/rootfs/netbootable"
	"picloud/netboot/rootfs/rescue"
)

// rescueRecord is what one Pi boots.
type rescueRecord struct {
	Volume string        `json:"volume"` // that it mounts
	Image  string        `json:"image"`  // whose kernel it boots
	Base   memoryBase    `json:"base"`
	Person rescue.Person `json:"person"`
}

func (r rescueRecord) base() memoryBase { return r.Base }

// Rescue is engine.Roots'. The small system is built of the image alone: the
// root may be what is broken, and is its customer's.
func (r *roots) Rescue(ctx context.Context, pi engine.Pi, img string, who engine.Person) ([]engine.HostKey, error) {
	base, err := baseOf(ctx, r, &r.rescues, img)
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

// rescueFolder is the boot folder of a Pi in rescue mode. Nothing in it is of
// the customer's root.
func (r *roots) rescueFolder(e engine.BootEntry) (*bootfs.Folder, error) {
	record, err := r.rescues.read(string(e.Pi))
	if err != nil {
		return nil, fmt.Errorf("boot folder of %s, in rescue: %w (take it out of rescue, and in again)", e.Pi, err)
	}
	return r.memoryFolder(e, record.Image, record.Base, nil, func() (bootfs.Content, error) {
		who := record.Person
		who.Clock = time.Now()
		return rescue.Open(record.Base.File, who)
	})
}

// forgetRescues deletes what was made to mount a volume that is no more.
func (r *roots) forgetRescues(name string) error {
	var errs []error
	for pi, record := range r.rescues.all() {
		if record.Volume == name {
			errs = append(errs, r.rescues.remove(pi))
		}
	}
	return errors.Join(errs...)
}
