// Package rescue builds small systems that a Raspberry Pi runs from memory. The
// rescue system is for a server whose own root does not start: SSH, the usual
// tools, and the server's root mounted read-write at /mnt over NFS. The examination
// looks at a board that nobody has, works it hard for some seconds, and reports;
// see [System], and package report for how it is told what to do.
//
// The rescue system is an initramfs in two parts, one behind the other in one file, as the
// kernel unpacks them (Documentation/driver-api/early-userspace/buffer-format.rst).
// The base is made by [Build], once for each image: programs, libraries and kernel
// modules are the image's own, so that they fit the kernel and the processor, and
// everything that decides what runs is ours. The personal part is made by
// [Person.Write] for each boot: name, addresses, keys, and where the root is.
// [Open] puts the two together for a file server to send. The examination is its
// base alone, for nothing in it is one Pi's own: what it needs to know stands on
// the kernel's command line.
//
// # How a Pi boots it
//
// The files of the boot folder come from the image, never from the customer's
// root, which may be what is broken. What config.txt and the kernel's command
// line need is in [Boot]. The command line needs no ip=, root= or nfsroot=, and
// ignores them: the archive has it all.
//
//	base, err := rescue.Build(ctx, rescue.Options{Image: dir, Out: name})
//	private, public, err := netbootable.NewHostKey("p01-rescue") // show public.Fingerprint
//	file, err := rescue.Open(name, rescue.Person{...})           // serve as base.Boot.Initramfs
//
// The root must be exported to the Pi, as it is when the Pi boots from it. Once
// SSH answers, the rescue system is up; the root is mounted in the background and
// tried for ever, so that SSH does not wait for it. To end the rescue, serve the
// Pi's usual boot folder again and restart it.
//
// # What a customer can do
//
// Whoever has one of the keys is root in the rescue system, as on the server
// itself: the Pi is theirs. Nothing that runs before they log in is read from
// their root. The personal part goes over the Pi's own segment by TFTP, in the
// clear: so it has a host key of its own, to be made anew for each rescue, and
// never that of the server.
package rescue
