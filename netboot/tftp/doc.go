// Package tftp serves boot files to Raspberry Pi boot ROMs over TFTP: RFC 1350
// with options as in RFC 2347, blksize (RFC 2348) and tsize (RFC 2349).
//
// Sending a file in lock step, negotiating options and repeating what was lost is
// done by github.com/pin/tftp/v3. Everything that a boot ROM or a hostile
// neighbour makes necessary is done around it, here:
//
//   - The socket for requests is read by Server, which parses each request within
//     bounds and knows the address that it was sent to. Each accepted request gets
//     a socket of its own, bound to that address and connected to the client. So a
//     reply always has the right source, whatever other addresses the machine has.
//   - Each transfer then is one pin/tftp server, in single-port mode, on a virtual
//     connection over that socket (type conn). The connection passes on only
//     acknowledgements of the current block, and lets no ERROR of the library out.
//     In multi-port mode, the library would open its own sockets, could not be
//     told to end a transfer, and would answer a client's own ERROR with another.
//     In single-port mode on one shared connection, all transfers would wait for
//     one lock, and a datagram of more than 516 octets would make it panic.
//   - Errors go out with their right code and a fixed text that tells nothing of
//     the server's paths.
//
// Writing is refused. IPv6 is not served: the boot plane of a Pi is IPv4.
package tftp
