package command

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"picloud/engine/daemon/mounts"
	"picloud/engine/daemon/systemd"
)

// mountsVariable names the Unix socket of the program that mounts for the
// service, which has a mount namespace of its own.
const mountsVariable = "PICLOUD_MOUNTS"

// mountsCommand is what picloud-mounts.service runs: nobody types it.
func (p *Program) mountsCommand() *cobra.Command {
	var path string
	c := local(&cobra.Command{
		Use: "mounts", Short: "mount roots for a service that systemd keeps apart", Args: exactly(), Hidden: true,
	}, func(ctx context.Context, _ []string) error {
		cfg, err := p.load(path)
		if err != nil {
			return err
		}
		l, err := passedListener()
		if err != nil {
			return err
		}
		s := &mounts.Server{Beneath: []string{cfg.State, cfg.NFS.Path}, Log: slog.New(systemd.LogHandler(p.Err))}
		return s.Serve(ctx, l)
	})
	configFlag(c, &path)
	return c
}

// firstPassed is the first descriptor that systemd passes (sd_listen_fds(3)).
const firstPassed = 3

// passedListener is the one socket that systemd has opened for this process.
func passedListener() (net.Listener, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || os.Getenv("LISTEN_FDS") != "1" {
		return nil, fmt.Errorf("systemd has passed no socket: picloud-mounts.socket starts this")
	}
	f := os.NewFile(firstPassed, "picloud-mounts.socket")
	defer f.Close()
	return net.FileListener(f)
}
