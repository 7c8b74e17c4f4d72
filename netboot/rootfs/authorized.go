package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"picloud/netboot/rootfs/internal/edit"
)

// SetKeys makes keys those that may log in to the root in folder top, as root and
// as the first user: it writes what [Personalise] writes of
// [Person.AuthorizedKeys], under the same rules, and nothing else. The root may be
// in use: each file is replaced by a rename. None leaves no key in the root.
// Errors: [ErrInvalidPerson], before anything is written, or what the file system
// said.
func SetKeys(top string, keys []string) error {
	if err := checkKeys(keys); err != nil {
		return fmt.Errorf("rootfs: set the keys of %s: %w", top, err)
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return fmt.Errorf("rootfs: set keys: %w", err)
	}
	defer root.Close()
	if err := writeKeys(root, keys); err != nil {
		return fmt.Errorf("rootfs: set the keys of %s: %w", top, err)
	}
	return nil
}

func checkKeys(keys []string) error {
	if len(keys) > maxKeys {
		return fmt.Errorf("%w: %d keys, at most %d", ErrInvalidPerson, len(keys), maxKeys)
	}
	for i, k := range keys {
		if _, err := checkKey(k); err != nil {
			return fmt.Errorf("%w: key %d: %w", ErrInvalidPerson, i+1, err)
		}
	}
	return nil
}

// writeKeys gives root and the first user the keys, which have been checked.
func writeKeys(root *os.Root, keys []string) error {
	for _, dir := range []string{"root", "root/.ssh"} {
		if err := edit.Dir(root, dir, 0o700); err != nil {
			return err
		}
	}
	if err := edit.File(root, "root/.ssh/authorized_keys", 0o600, keyFile(keys)); err != nil {
		return err
	}
	if err := writeFirstUser(root, keys); err != nil {
		return err
	}
	return errors.Join(edit.Sync(root, "root/.ssh"), edit.Sync(root, "root"))
}

// writeFirstUser gives the first user the same keys as root.
func writeFirstUser(root *os.Root, keys []string) error {
	u, ok := firstUser(edit.Read(root, "etc/passwd", maxPasswd))
	if !ok || isOutside(root, u.home+"/x") {
		return nil
	}
	dir := u.home + "/.ssh"
	if err := edit.Dir(root, dir, 0o700); err != nil {
		return err
	}
	if err := edit.OwnedFile(root, dir+"/authorized_keys", 0o600, u.uid, u.gid, keyFile(keys)); err != nil {
		return err
	}
	// An ordinary user cannot give it away; then it stays theirs.
	if err := root.Lchown(dir, u.uid, u.gid); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return edit.Sync(root, dir)
}

// keyFile is the content of authorized_keys. The keys have been checked.
func keyFile(keys []string) []byte {
	var b strings.Builder
	for _, k := range keys {
		k, _ = checkKey(k)
		b.WriteString(k + "\n")
	}
	return []byte(b.String())
}
