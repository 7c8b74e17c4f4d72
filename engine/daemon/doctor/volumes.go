package doctor

import (
	"context"
	"errors"
	"os/exec"

	"golang.org/x/sys/unix"

	"picloud/engine/config"
	"picloud/hw/volume"
)

// lvmPrograms are those that the driver lvm starts, and one that LVM itself
// does before it uses a thin pool.
var lvmPrograms = []string{
	"lvs", "pvs", "lvcreate", "lvchange", "lvextend", "lvremove", "mke2fs", "resize2fs", "tune2fs", "thin_check",
}

// checkVolumes looks at what keeps the roots, and how full it is.
func checkVolumes(ctx context.Context, e *Env) []Finding {
	v := e.Config.Volumes
	switch v.Driver {
	case config.VolumesLVM:
		for _, name := range lvmPrograms {
			if _, err := exec.LookPath(name); err != nil {
				return []Finding{failf(v.Driver, "apt install lvm2 thin-provisioning-tools e2fsprogs", "there is no %s", name)}
			}
		}
	case volumesBtrfs:
		var st unix.Statfs_t
		dir := existing(e.Config.State)
		if err := unix.Statfs(dir, &st); err == nil && st.Type != unix.BTRFS_SUPER_MAGIC {
			return []Finding{failf(v.Driver, "mkfs.btrfs a disk and mount it at "+e.Config.State, "%s is not on btrfs", dir)}
		}
	}
	if e.Pool == nil {
		return nil
	}
	p, err := e.Pool(ctx)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return []Finding{okf(v.Driver, "no volumes yet: the service makes them")}
	case err != nil:
		return []Finding{ofError(Failure, v.Driver, err)}
	}
	return []Finding{poolFinding(v, p)}
}

// volumesBtrfs is the value of volumes.driver for subvolumes.
const volumesBtrfs = "btrfs"

// fullPool is the part of a nearly full pool at which running Pis are about to
// stop.
const fullPool = 0.98

func poolFinding(v config.Volumes, p volume.Pool) Finding {
	used := 0.0
	if p.Size > 0 {
		used = float64(p.Used) / float64(p.Size)
	}
	remedy := "picloud pi list shows former roots; delete some, or give the file system a larger disk"
	if v.Driver == config.VolumesLVM {
		remedy = "vgextend " + v.Group + " DISK, lvextend --size +SIZE " + v.Group + "/" + v.Pool
		if p.Metadata > used {
			remedy = "lvextend --poolmetadatasize +1G " + v.Group + "/" + v.Pool
		}
	}
	const form = "%.0f %% of %s used"
	percent := 100 * max(used, p.Metadata)
	switch {
	case p.NearlyFull && max(used, p.Metadata) >= fullPool:
		return failf(v.Driver, remedy, form+": running Pis stop when it is full", percent, size(p.Size))
	case p.NearlyFull:
		return warnf(v.Driver, remedy, form+": no new roots are made", percent, size(p.Size))
	}
	return okf(v.Driver, form, percent, size(p.Size))
}
