package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// secret is a file or folder and the rights that nobody may have on it.
type secret struct {
	path string
	what string
	bad  fs.FileMode // bits that must not be set
	mode string      // what it should have
}

func (e *Env) secrets() []secret {
	state := e.Config.State
	list := []secret{
		{state, "the state folder", 0o022, "750"},
		{e.Database, "the database", 0o077, "600"},
		{e.Database + "-wal", "the database's log", 0o077, "600"},
		{e.Backups, "the folder of backups", 0o077, "700"},
		{filepath.Join(state, "host_ed25519"), "the private key of the console over SSH", 0o077, "600"},
		{filepath.Join(state, "nfs.key"), "the key of the NFS handles", 0o077, "600"},
		{filepath.Join(state, "rescue"), "the rescue systems' private keys", 0o022, "750"},
	}
	if e.File != "" {
		list = append(list, secret{e.File, "the configuration", 0o022, "644"})
	}
	for _, s := range e.Config.Switches {
		if s.CredentialsFile != "" {
			list = append(list, secret{s.CredentialsFile, "the credentials of switch " + s.Name, 0o027, "640"})
		}
	}
	return list
}

// checkModes: who can read a key is who has it, and who can write the
// configuration is an admin.
func checkModes(_ context.Context, e *Env) []Finding {
	var found []Finding
	good := 0
	for _, s := range e.secrets() {
		info, err := os.Stat(s.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // made when it is needed
		case errors.Is(err, fs.ErrPermission):
			found = append(found, warnf(s.path, "sudo picloud doctor", "%s cannot be looked at by this user", s.what))
		case err != nil:
			found = append(found, warnf(s.path, "", "%s cannot be looked at: %v", s.what, err))
		case info.Mode().Perm()&s.bad != 0:
			found = append(found, failf(s.path, "chmod "+s.mode+" "+s.path, "others may %s %s (mode %04o)", verbOf(info.Mode().Perm()&s.bad), s.what, info.Mode().Perm()))
		default:
			good++
		}
	}
	if good > 0 {
		found = append([]Finding{okf("", "%d files and folders are closed to others", good)}, found...)
	}
	return found
}

func verbOf(bits fs.FileMode) string {
	switch {
	case bits&0o044 == 0:
		return "write"
	case bits&0o022 == 0:
		return "read"
	}
	return "read and write"
}

// Room that the state folder needs beside the volumes: the database and what
// it writes while it is backed up.
const (
	leastRoom  = 100 << 20 // bytes; with less nothing can be stored soon
	littleRoom = 1 << 30
	littlePart = 20 // one of so many inodes
)

// checkSpace looks at the file system of the state folder.
func checkSpace(_ context.Context, e *Env) []Finding {
	dir := existing(e.Config.State)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return []Finding{warnf(dir, "", "its room cannot be told: %v", err)}
	}
	free := int64(st.Bavail) * st.Bsize
	const remedy = "delete what is not needed there, or give it a larger disk"
	switch {
	case free < leastRoom:
		return []Finding{failf(dir, remedy, "%s are free", size(free))}
	case free < littleRoom:
		return []Finding{warnf(dir, remedy, "%s are free", size(free))}
	case st.Files > 0 && st.Ffree < st.Files/littlePart:
		return []Finding{warnf(dir, remedy, "%d of %d inodes are free", st.Ffree, st.Files)}
	}
	return []Finding{okf(dir, "%s are free", size(free))}
}

// existing is the nearest folder that is there already.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

func size(n int64) string {
	if n < 1e9 {
		return fmt.Sprintf("%.0f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}
