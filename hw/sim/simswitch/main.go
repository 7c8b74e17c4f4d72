// Simswitch serves one simulated PoE switch over SNMP until it is told to end:
// for tests whose switch has to be a program of its own, beside a service that
// is installed. On each of its ports hangs a device that draws what a Pi does.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"picloud/hw/sim/poeswitch"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "simswitch:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("simswitch", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:1161", "`address` to answer SNMP at")
	ports := flags.Int("ports", 8, "how many `ports` it has")
	community := flags.String("community", "", "the `word` that reads and writes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	sw, err := poeswitch.New(poeswitch.Config{
		Name: "simswitch", Ports: *ports, ReadCommunity: *community, WriteCommunity: *community, Disabled: true,
	})
	if err != nil {
		return err
	}
	for port := 1; port <= *ports; port++ {
		if err := sw.Attach(port, poeswitch.Device{Class: 4, Milliwatts: func() int { return 2500 }}); err != nil {
			return err
		}
	}
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(ctx, "udp", *listen)
	if err != nil {
		return err
	}
	return sw.Serve(ctx, conn)
}
