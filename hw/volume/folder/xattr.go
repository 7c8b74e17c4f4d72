package folder

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// copyXattrs copies extended attributes, among them file capabilities and
// access lists, as far as the file system and the rights go.
func (c *copier) copyXattrs(to, from *os.File) error {
	buf := make([]byte, 64<<10) // XATTR_LIST_MAX, and XATTR_SIZE_MAX
	n, err := unix.Flistxattr(fd(from), buf)
	if errors.Is(err, unix.ENOTSUP) || n == 0 && err == nil {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("flistxattr", err)
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	for _, name := range names {
		n, err := unix.Fgetxattr(fd(from), name, buf)
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
			continue
		}
		if err != nil {
			return fmt.Errorf("fgetxattr %q: %w", name, err)
		}
		err = unix.Fsetxattr(fd(to), name, buf[:n], 0)
		switch {
		case errors.Is(err, unix.ENOTSUP):
		case errors.Is(err, unix.EPERM) && !c.root:
		case err != nil:
			return fmt.Errorf("fsetxattr %q: %w", name, err)
		}
	}
	return nil
}
