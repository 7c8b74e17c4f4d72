package command

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine/config"
	"picloud/engine/daemon"
	"picloud/engine/daemon/propose"
	"picloud/hw/poe"
	"picloud/tui/cli"
)

// snmpPort is an agent's, RFC 3417, section 3.
const snmpPort = 161

// discovery is what picloud switch discover is asked for.
type discovery struct {
	credentials, profile, net string
	propose.Options
}

// discoverCommand reads a switch that is in no configuration yet.
func (p *Program) discoverCommand() *cobra.Command {
	var o discovery
	c := local(&cobra.Command{
		Use: "discover ADDRESS", Short: "look at a switch, and propose its part of the configuration", Args: exactly("ADDRESS"),
		Long: "Reads what the switch at ADDRESS (with a UDP port, else 161) tells over SNMP: its\n" +
			"ports with PoE and what they deliver, their VLANs, the addresses heard at them\n" +
			"and its LLDP neighbours. Nothing is changed. What it prints goes into the\n" +
			"configuration once somebody has read it; comments say where each thing is from.",
	}, func(ctx context.Context, args []string) error { return p.discover(ctx, args[0], &o) })
	f := c.Flags()
	f.StringVar(&o.credentials, "credentials", "", "`file` of the switch's credentials, as for [[switch]]; to read is enough")
	f.StringVar(&o.profile, "profile", poe.ProfileAuto, "which tables and columns the switch has")
	f.StringVar(&o.Name, "name", "", "what to call the switch (default: as it calls itself)")
	f.StringVar(&o.Prefix, "prefix", "", "what the Pis' names begin with (default: the switch's name)")
	f.StringVar(&o.net, "net", "10.64.0.0/16", "`network` whose n-th /30 is that of port n")
	f.StringVar(&o.Interface, "interface", "eth0", "the server's network interface that has the VLANs")
	_ = c.MarkFlagRequired("credentials") // its error is that there is no such flag
	return c
}

func (p *Program) discover(ctx context.Context, address string, o *discovery) error {
	sw, err := o.theSwitch(p, address)
	if err != nil {
		return err
	}
	if o.Net, err = netip.ParsePrefix(o.net); err != nil {
		return fmt.Errorf("--net: %w", err)
	}
	found, err := daemon.LookAt(ctx, sw)
	if err != nil {
		if hint := poe.Hint(err); hint != "" {
			return fmt.Errorf("%w (%s)", err, hint)
		}
		return err
	}
	o.Address, o.Version, o.Credentials, o.At = sw.Address, sw.Version, sw.CredentialsFile, time.Now()
	n, err := propose.Write(p.Out, &found, o.Options)
	if err != nil {
		return err
	}
	if n == 0 {
		fmt.Fprintln(p.Err, "picloud: no port looks like the place of one Pi; the comments say why")
	}
	return nil
}

// theSwitch is how the switch is reached.
func (o *discovery) theSwitch(p *Program, address string) (config.Switch, error) {
	sw := config.DefaultSwitch()
	sw.Name, sw.Profile = address, o.profile
	at, err := netip.ParseAddrPort(address)
	if alone, aloneErr := netip.ParseAddr(address); aloneErr == nil {
		at, err = netip.AddrPortFrom(alone, snmpPort), nil
	}
	if err != nil || at.Port() == 0 {
		return sw, cli.Usagef("picloud switch discover --help", "%q is no IP address; names are not looked up", address)
	}
	sw.Address = at
	if sw.CredentialsFile, err = filepath.Abs(o.credentials); err != nil {
		return sw, err
	}
	credentials, problems := config.ReadCredentials(sw.CredentialsFile)
	if len(problems) > 0 {
		return sw, p.report(problems)
	}
	sw.Credentials = credentials
	if credentials.User != "" {
		sw.Version = config.SNMPv3
	} else if credentials.ReadCommunity == "" && credentials.WriteCommunity == "" {
		return sw, errors.New(sw.CredentialsFile + ": no community and no user")
	}
	return sw, nil
}
