package rootfs

import (
	"bytes"
	"fmt"
	"os"
	"regexp"

	"picloud/netboot/rootfs/internal/edit"
)

const (
	zoneDir = "usr/share/zoneinfo"
	maxZone = 256 << 10 // the biggest of tzdata's files has 4 KB
)

// zoneForm is what names in the tz database look like (theory.html, "Timezone
// identifiers").
var zoneForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]{0,30}(/[A-Za-z][A-Za-z0-9_+-]{0,30}){0,2}$`)

func checkZone(name string) error {
	if name != "" && !zoneForm.MatchString(name) {
		return fmt.Errorf("time zone %.80q: want a name such as Europe/London", name)
	}
	return nil
}

// findZone refuses a zone that the root's own database does not have. A root
// without one takes any: it counts in UTC until tzdata is installed.
func findZone(root *os.Root, name string) error {
	if name == "" {
		return nil
	}
	if info, err := root.Stat(zoneDir); err != nil || !info.IsDir() {
		return nil
	}
	if !bytes.HasPrefix(edit.Follow(root, zoneDir+"/"+name, maxZone), []byte("TZif")) { // RFC 9636, section 3.1
		return fmt.Errorf("%w: the root has no time zone %q", ErrInvalidPerson, name)
	}
	return nil
}

// writeZone sets the zone as timedatectl and Debian's tzdata do, and in
// cloud-init, which would set its own at the first boot.
func writeZone(root *os.Root, p Person) error {
	if p.TimeZone == "" {
		return nil
	}
	if err := edit.Link(root, "etc/localtime", "/"+zoneDir+"/"+p.TimeZone); err != nil {
		return err
	}
	if err := edit.File(root, "etc/timezone", 0o644, []byte(p.TimeZone+"\n")); err != nil {
		return err
	}
	const cloud = "etc/cloud/cloud.cfg.d"
	if isOutside(root, cloud+"/x") {
		return nil
	}
	return edit.File(root, cloud+"/99_zz_picloud_person.cfg", 0o644, []byte("timezone: "+p.TimeZone+"\n"))
}
