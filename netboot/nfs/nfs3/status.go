package nfs3

import (
	"errors"
	"io/fs"
	"syscall"
)

// status is nfsstat3 of RFC 1813, section 2.6; the same numbers serve as
// mountstat3 of section 5.1.5.
type status uint32

const (
	ok             status = 0
	errNoEnt       status = 2
	errIO          status = 5
	errAccess      status = 13
	errNotDir      status = 20
	errIsDir       status = 21
	errInval       status = 22
	errROFS        status = 30
	errNameTooLong status = 63
	errStale       status = 70
	errBadHandle   status = 10001
	errBadCookie   status = 10003
	errTooSmall    status = 10005
	errServerFault status = 10006
)

var statusOfErrno = map[syscall.Errno]status{
	syscall.ENOENT:       errNoEnt,
	syscall.EACCES:       errAccess,
	syscall.EPERM:        errAccess,
	syscall.ENOTDIR:      errNotDir,
	syscall.EISDIR:       errIsDir,
	syscall.EINVAL:       errInval,
	syscall.ENAMETOOLONG: errNameTooLong,
	syscall.ESTALE:       errStale,
}

// statusOf translates an error of the file system. What os.Root refuses
// because it leads out of the root has no errno and becomes errAccess.
func statusOf(err error) status {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if s, known := statusOfErrno[errno]; known {
			return s
		}
		return errIO
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return errAccess
	}
	return errIO
}
