package bootfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"

	"picloud/netboot/bootfs/order"
)

// ErrSpec is wrapped by the errors of New.
var ErrSpec = errors.New("invalid boot folder")

// Spec says what is in the boot folder of a Pi.
type Spec struct {
	// Family is the kind of board.
	Family order.Family
	// Serial is the low half of the board's serial number, 8 hexadecimal digits. It
	// may be empty as long as it is not known: then any serial number is taken for
	// its prefix.
	Serial string
	// MAC is the board's hardware address, for boards that are set up to use it as
	// prefix (TFTP_PREFIX=2).
	MAC net.HardwareAddr
	// Root is the folder on the file server that is the Pi's root file system. Its
	// boot/firmware, or if a file is not there its boot, is searched. It may be
	// empty.
	Root string
	// Folders are further folders of Root with boot files, as paths within it. They
	// are searched after those, in their order: Debian's packages leave the device
	// trees of a kernel and the firmware beneath usr/lib.
	Folders []string
	// Image is a folder with boot files, searched after Root. It may be empty.
	Image string
	// Files are served in place of what Root and Image have by these names, such as
	// an initramfs that is put together of parts. Each is opened anew for each
	// request. config.txt and cmdline.txt cannot be among them.
	Files map[string]func() (Content, error)
	// Config is what config.txt is made of.
	Config Config
	// Cmdline is what cmdline.txt is made of.
	Cmdline Cmdline
}

// Content is a file that is made elsewhere. Size is its length in octets.
type Content interface {
	io.ReadCloser
	Size() int64
}

// bootDirs are where a root has its boot files: boot/firmware since Bookworm, and
// boot before that.
var bootDirs = []string{"boot/firmware", "boot"}

// Folder is the boot folder of one Pi. It may be used by several goroutines at
// once. It keeps nothing open, so that a root can be exchanged at any time.
type Folder struct {
	spec      Spec
	generated map[string][]byte
}

// New checks a Spec and makes the generated files. Every error is an ErrSpec.
func New(s Spec) (*Folder, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("bootfs: new folder: %w: %w", ErrSpec, err)
	}
	s.MAC, s.Folders, s.Files = slices.Clone(s.MAC), slices.Clone(s.Folders), maps.Clone(s.Files)
	return &Folder{spec: s, generated: map[string][]byte{
		"config.txt":  []byte(s.Config.text(s.Family, s.Cmdline.Initramfs)),
		"cmdline.txt": []byte(s.Cmdline.String() + "\n"),
	}}, nil
}

func (s *Spec) check() error {
	if !slices.Contains(order.Families(), s.Family) {
		return fmt.Errorf("family %q cannot boot over a network", s.Family)
	}
	if s.Serial != "" && !isSerial(s.Serial) {
		return fmt.Errorf("serial number %q is not 8 hexadecimal digits", s.Serial)
	}
	if len(s.MAC) != 0 && len(s.MAC) != 6 {
		return fmt.Errorf("hardware address %s does not have 6 octets", s.MAC)
	}
	for _, f := range s.Folders {
		if err := checkName(f); err != nil {
			return fmt.Errorf("folder %.40q of the root: not a path within it", f)
		}
	}
	for name, open := range s.Files {
		if err := checkName(name); err != nil || open == nil || name == "config.txt" || name == "cmdline.txt" {
			return fmt.Errorf("file %.40q cannot be served in place of another", name)
		}
	}
	if err := s.Config.check(s.Family); err != nil {
		return fmt.Errorf("config.txt: %w", err)
	}
	if err := s.Cmdline.check(); err != nil {
		return fmt.Errorf("cmdline.txt: %w", err)
	}
	return nil
}

// Source is where a file comes from.
type Source string

// The sources of boot files.
const (
	Generated Source = "generated"
	FromRoot  Source = "root"
	FromImage Source = "image"
)

// File is an open boot file.
type File struct {
	r      io.Reader
	c      io.Closer // nil if there is nothing to close
	size   int64
	source Source
	kernel bool
}

// Read reads the file. A file that changes while it is read may have more or less
// than Size octets.
func (f *File) Read(p []byte) (int, error) { return f.r.Read(p) }

// Close closes the file.
func (f *File) Close() error {
	if f.c == nil {
		return nil
	}
	return f.c.Close()
}

// Size is how many octets the file had when it was opened.
func (f *File) Size() int64 { return f.size }

// Source is where the file comes from.
func (f *File) Source() Source { return f.source }

// Kernel tells whether it is the kernel: the one that config.txt names, else one
// that the firmware looks for (config_txt/boot.adoc, "kernel").
func (f *File) Kernel() bool { return f.kernel }

// Open opens the file that the Pi asks for by name. The errors that are
// fs.ErrNotExist tell that the Pi gets no such file, and why; any other error is
// one of the server, such as a root that cannot be read.
//
// A file in the root that is refused is not replaced by that of the image: the Pi
// then does not boot, and the error says which file is wrong.
func (f *Folder) Open(name string) (*File, error) {
	p, err := f.spec.resolve(name)
	if err != nil {
		return nil, openError(name, err)
	}
	file, err := f.open(p)
	if err != nil {
		return nil, openError(name, err)
	}
	file.kernel = f.spec.isKernel(p)
	return file, nil
}

func (s *Spec) isKernel(p string) bool {
	if s.Config.Kernel != "" {
		return p == s.Config.Kernel
	}
	return order.IsKernel(s.Family, p)
}

// open opens a file by its path without the prefix.
func (f *Folder) open(p string) (*File, error) {
	if b, ok := f.generated[p]; ok {
		return &File{r: bytes.NewReader(b), size: int64(len(b)), source: Generated}, nil
	}
	if open, ok := f.spec.Files[p]; ok {
		c, err := open()
		if err != nil {
			return nil, err
		}
		return &File{r: c, c: c, size: c.Size(), source: Generated}, nil
	}
	for _, place := range f.spec.places() {
		for _, called := range aliases(p) {
			file, size, err := openIn(place.dir, place.sub, called)
			if err == nil {
				return &File{r: file, c: file, size: size, source: place.source}, nil
			}
			if !isAbsent(err) {
				return nil, err
			}
		}
	}
	return nil, ErrNotFound
}

// place is a folder to search.
type place struct {
	dir, sub string
	source   Source
}

func (s *Spec) places() []place {
	var ps []place
	if s.Root != "" {
		for _, sub := range slices.Concat(bootDirs, s.Folders) {
			ps = append(ps, place{s.Root, sub, FromRoot})
		}
	}
	if s.Image != "" {
		ps = append(ps, place{s.Image, "", FromImage})
	}
	return ps
}

// Generated returns the text of a file that is made from the Spec, config.txt or
// cmdline.txt, for people to look at.
func (f *Folder) Generated(name string) (string, bool) {
	b, ok := f.generated[name]
	return string(b), ok
}
