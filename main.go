// Picloud runs a cloud of Raspberry Pis that boot over the network and are
// powered over Ethernet. See README.md, and `picloud help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"picloud/engine/daemon/command"
)

// version is set when a release is built: -ldflags "-X main.version=1.2.3".
var version = ""

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	p := command.Program{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Environ(), Version: versionOf()}
	code := p.Run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func versionOf() string {
	if info, ok := debug.ReadBuildInfo(); version == "" && ok {
		return info.Main.Version
	}
	return version
}
