// Package door is the one way into a running rack for people: an SSH server
// (RFC 4251 to 4254) on TCP for operators with public keys, and the same server
// on a Unix socket for the rack terminal, where the kernel says who calls.
//
// # What a session gets
//
//	terminal, no command    the console
//	a command               Config.Run with its words, with or without a terminal
//	neither                 Config.Run with "watch"
//
// Nothing else is answered: no password, no forwarding of agents, ports or X11,
// no subsystem, no environment but the terminal's (TERM, COLORTERM, NO_COLOR,
// LANG, LC_ALL, LC_CTYPE).
//
// # Who somebody is
//
// On TCP the key that the client proved to have, never the user name it gave
// and never a key it only offered. On the socket the uid of the process at the
// other end (SO_PEERCRED, unix(7)). Config.Operator and Config.Local know whom
// these belong to, and in what role; they are asked again before every act,
// every half minute, and whenever [Server.Recheck] is called. Who is gone is
// disconnected; whose role changed has the new one at once. The engine decides
// what a role may do: the [engine.Viewer] of a session only puts the present
// actor on every command.
//
// # Nobody slows anybody
//
// A session draws from a mailbox that the engine never waits for. A client that
// takes nothing for Limits.Stall while something is written to it, or does not
// answer for three Limits.Keepalive, is disconnected. Keys are read at
// Limits.Input bytes a second. More than eight sessions take turns at drawing
// snapshots. Clients without a login yet are few, short-lived
// and rationed by their address. Some places are kept for the rack terminal.
//
// # To wire it
//
//	signer, made, err := door.HostKey(filepath.Join(state, "host_ed25519"))
//	srv, err := door.New(door.Config{
//		HostKey:  signer,
//		Viewer:   eng,
//		Operator: operators.ByKey, // func(ssh.PublicKey) (engine.Actor, bool)
//		Local:    operators.ByUID, // func(door.Peer) (engine.Actor, bool)
//		Run: func(ctx context.Context, s door.Session) int {
//			return cli.Run(ctx, s.Viewer, cli.Session{Actor: s.Actor, Args: s.Args, Stdin: s.Stdin,
//				Stdout: s.Stdout, Stderr: s.Stderr, Width: s.Width, TTY: s.TTY})
//		},
//		Log:      log,
//	})
//	tcp, err := net.Listen("tcp", ":2222")
//	unix, err := door.ListenUnix("/run/picloud/console.sock", 0o666)
//	g.Go(func() error { return srv.Serve(ctx, tcp, unix) })
//
// The door edits and echoes lines of a terminal itself, so a command never has
// to. Call srv.Recheck after operators or roles have changed. The other end of
// the socket is package attach. Print ssh.FingerprintSHA256(signer.PublicKey())
// where people can compare it with what their client asks; Serve logs it.
package door
