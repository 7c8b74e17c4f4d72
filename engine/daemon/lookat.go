package daemon

import (
	"context"

	"picloud/engine/config"
	"picloud/hw/poe"
)

// LookAt reads what a switch tells of itself, and changes nothing. Its profile
// may be poe.ProfileAuto; its ports need not be known.
func LookAt(ctx context.Context, sw config.Switch) (poe.Survey, error) {
	if sw.Credentials.ReadCommunity != "" {
		sw.Credentials.WriteCommunity = "" // reading needs no more
	}
	sw.Ports, sw.Overrides = 0, nil
	return poe.LookAt(ctx, poeConfig(sw, 0))
}
