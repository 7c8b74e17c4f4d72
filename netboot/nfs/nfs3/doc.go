// Package nfs3 is a small read-only NFS server: MOUNT version 3 and NFS
// version 3 (RFC 1813) over ONC RPC version 2 (RFC 5531) on one TCP port,
// without a portmapper. It needs no privilege. The demo mounts its roots from
// it; a customer's root belongs on the kernel's server, which can write.
//
// Everything that a client sends is hostile. A call is read whole, within a
// limit, before anything is done with it, and nothing is allocated by a
// length that the client gives. Each export belongs to one client address;
// its file handles carry a secret token and are honoured on connections from
// that address only. Files are opened beneath the export's folder (os.Root),
// never through a link, and only if they are regular.
//
// Clients give port= and mountport=, as the kernel's nfsroot= does, for want
// of a portmapper.
package nfs3
