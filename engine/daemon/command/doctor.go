package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine/config"
	"picloud/engine/daemon"
	"picloud/engine/daemon/doctor"
	"picloud/tui/cli"
)

type doctorFlags struct {
	config, only    string
	json, writeTest bool
}

func (p *Program) doctorCommand() *cobra.Command {
	var o doctorFlags
	c := local(&cobra.Command{
		Use: "doctor", Short: "look for what keeps the rack from working, and say what to do", Args: exactly(),
		Long: "Looks at this computer, the configuration, the state folder and the switches,\nbefore the service runs or while it does, and changes nothing. Each line is ok, a\nwarning or a failure. The exit code is 1 if there is a failure.",
	}, func(ctx context.Context, _ []string) error { return p.doctor(ctx, o) })
	configFlag(c, &o.config)
	f := c.Flags()
	f.StringVar(&o.only, "only", "", "look at one `group` only: "+strings.Join(doctor.Groups(), " "))
	cli.Values(c, "only", doctor.Groups())
	f.BoolVar(&o.json, "json", false, "one JSON object, for scripts")
	f.BoolVar(&o.writeTest, "write-test", false, "set a port without a Pi of each switch to what it is, to see whether it obeys")
	return c
}

func (p *Program) doctor(ctx context.Context, o doctorFlags) error {
	groups := doctor.Groups()
	if o.only != "" && !slices.Contains(groups, o.only) {
		return cli.Usagef("one of "+strings.Join(groups, ", "), "--only %q: there is no such group", o.only)
	}
	if o.config == "" {
		return cli.Usagef("picloud config template", "--config is empty")
	}
	if err := seeServicePrograms(); err != nil {
		return err
	}
	r, err := p.examine(ctx, o)
	if err != nil {
		return err
	}
	write := r.WriteText
	if o.json {
		write = r.WriteJSON
	}
	if err := write(p.Out); err != nil {
		return err
	}
	if r.Failures > 0 {
		return errQuiet
	}
	return nil
}

func (p *Program) examine(ctx context.Context, o doctorFlags) (doctor.Report, error) {
	path := filepath.Clean(o.config)
	cfg, problems := config.Load(path, daemon.Known())
	if len(problems) > 0 {
		return doctor.Mistakes(problems, time.Now()), nil
	}
	env, done, err := daemon.DoctorEnv(cfg, path)
	if err != nil {
		return doctor.Report{}, err
	}
	defer done()
	env.WriteTest = o.writeTest
	r := doctor.Examine(ctx, env, func(c doctor.Check) bool { return o.only == "" || o.only == c.Group })
	if err := context.Cause(ctx); err != nil {
		return r, fmt.Errorf("stopped: %w", err)
	}
	r.Prepend(cfg, path)
	return r, nil
}

// seeServicePrograms looks for programs where systemd has the service look:
// Debian leaves the last two out of the PATH of ordinary users.
func seeServicePrograms() error {
	path := os.Getenv("PATH")
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if !slices.Contains(filepath.SplitList(path), dir) {
			path += string(filepath.ListSeparator) + dir
		}
	}
	return os.Setenv("PATH", path)
}
