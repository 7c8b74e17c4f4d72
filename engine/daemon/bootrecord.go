package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"picloud/engine"
	"picloud/hw/volume"
	"picloud/netboot/rootfs/netbootable"
)

// bootRecord is what is known of a volume's root, kept where its owner cannot
// change it: from before it is cloned what it is cloned from, and the rest since
// it was made bootable.
type bootRecord struct {
	Image    string           `json:"image,omitempty"` // "" in records of picloud before it was kept
	Boot     netbootable.Boot `json:"boot"`
	HostKeys []engine.HostKey `json:"host_keys"`
}

// bootable tells whether the root was made so.
func (r *bootRecord) bootable() bool { return r.Boot.NFSVersion != "" }

// bootRecords are a folder with one file for each volume.
type bootRecords struct{ dir string }

func bootRecordsOf(state string) bootRecords { return bootRecords{filepath.Join(state, "boot")} }

func (b bootRecords) path(name string) (string, error) {
	if err := volume.CheckName(name); err != nil {
		return "", err
	}
	return filepath.Join(b.dir, name+".json"), nil
}

// read returns a volume's record; ok is false if it has none.
func (b bootRecords) read(name string) (r bootRecord, ok bool, err error) {
	path, err := b.path(name)
	if err != nil {
		return r, false, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return r, false, fmt.Errorf("boot record of %s: %w", name, err)
	}
	return r, true, nil
}

// images returns what each volume was cloned from, by its name.
func (b bootRecords) images() (map[string]string, error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	from := map[string]string{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || volume.CheckName(name) != nil {
			continue
		}
		r, _, err := b.read(name)
		if err != nil {
			return nil, err
		}
		if r.Image != "" {
			from[name] = r.Image
		}
	}
	return from, nil
}

// write makes the record last, whole or not at all.
func (b bootRecords) write(name string, r bootRecord) error {
	path, err := b.path(name)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := writeWhole(path, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("boot record of %s: %w", name, err)
	}
	return nil
}

func (b bootRecords) remove(name string) error {
	path, err := b.path(name)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writeWhole puts a file in place by a rename, when it is on the disk whole.
// Its folder is made if it is not there.
func writeWhole(path string, data []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncFolder(dir)
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
