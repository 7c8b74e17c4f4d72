package store

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// resolve makes path absolute and free of symbolic links, so that one database
// has one lock file under whatever name it is opened. It makes the directory
// where it is missing.
func resolve(path string) (string, error) {
	if bad := refusePath(path); bad != "" {
		return "", fmt.Errorf("%w: %s: %s", ErrPath, bad, hintPath)
	}
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	full := filepath.Join(dir, name)
	if target, err := filepath.EvalSymlinks(full); err == nil {
		full = target
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return full, checkFile(full)
}

// refusePath says what is wrong with a path, "" = nothing. SQLite's names that
// are not files are refused, for what they hold would be gone with the process.
func refusePath(path string) string {
	switch {
	case path == "":
		return "it is empty"
	case strings.ContainsRune(path, 0):
		return "it has a NUL in it"
	case strings.HasPrefix(path, ":memory:"), strings.HasPrefix(path, "file:"):
		return fmt.Sprintf("%q is an SQLite name", path)
	case strings.HasSuffix(path, "/"), filepath.Base(path) == ".", filepath.Base(path) == "..":
		return fmt.Sprintf("%q is a directory", path)
	}
	return ""
}

// checkFile accepts a regular file, or nothing, at path.
func checkFile(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: it is a %s: %s", ErrPath, kindOf(info.Mode()), hintPath)
	}
	return nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeSymlink != 0:
		return "symbolic link to nothing"
	}
	return "special file"
}

// private takes the file's access from everybody but its owner: it holds
// customers' names and keys. SQLite gives the -wal and -shm files the same mode.
func private(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return err
	}
	return os.Chmod(path, info.Mode().Perm()&0o700)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// parameters of a connection, in go-sqlite3's words; see its documentation.
type parameters map[string]string

// dsn is the URI of the database at path (SQLite's "URI Filenames"): whatever
// is special in a URI is escaped, so that any path works.
func dsn(path string, p parameters) string {
	q := url.Values{}
	for k, v := range p {
		q.Set(k, v)
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	if !filepath.IsAbs(path) { // what comes first would be taken for a host
		u.Opaque = u.EscapedPath()
	}
	return u.String()
}
