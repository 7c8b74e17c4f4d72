// Package record keeps which exports a server is meant to have, one file each,
// so that they are found again after a restart under the names they were added
// with.
package record

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"picloud/netboot/nfs"
)

const suffix = ".json"

// Record is one export and the number that the server knows it by.
type Record struct {
	nfs.Export
	Number uint32 // unique among the records of a store, and never 0
}

// Store is a folder of records. It is not safe for concurrent use.
type Store struct {
	dir  string
	byID map[string]Record
	used map[uint32]string // by Number: the ID
}

// Open reads the store in a folder, which is made if it is not there. A file
// that cannot be read as a record is an error that names it.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, byID: map[string]Record{}, used: map[uint32]string{}}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), suffix) {
			_ = os.Remove(filepath.Join(dir, e.Name())) // half-written
			continue
		}
		if err := s.read(e.Name()); err != nil {
			return nil, fmt.Errorf("export record %s: %w (delete it, and publish the root again)", filepath.Join(dir, e.Name()), err)
		}
	}
	return s, nil
}

func (s *Store) read(name string) error {
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		return err
	}
	r, err := parse(b)
	if err != nil {
		return err
	}
	if fileName(r.ID) != name {
		return errors.New("it is another export's")
	}
	if other, ok := s.used[r.Number]; ok {
		return fmt.Errorf("its number %d is that of export %q", r.Number, other)
	}
	s.byID[r.ID], s.used[r.Number] = r, r.ID
	return nil
}

func parse(b []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return Record{}, err
	}
	if r.Number == 0 {
		return Record{}, errors.New("it has no number")
	}
	return r, r.Validate()
}

func fileName(id string) string {
	sum := nfs.Export{ID: id}.FSID()
	return hex.EncodeToString(sum[:]) + suffix
}

// Get returns the record of an export.
func (s *Store) Get(id string) (Record, bool) {
	r, ok := s.byID[id]
	return r, ok
}

// All returns all records, sorted by ID.
func (s *Store) All() []Record {
	all := make([]Record, 0, len(s.byID))
	for _, r := range s.byID {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Record) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Exports returns the exports of all records, sorted by ID.
func (s *Store) Exports() []nfs.Export {
	all := make([]nfs.Export, 0, len(s.byID))
	for _, r := range s.All() {
		all = append(all, r.Export)
	}
	return all
}

// Put writes the record of an export, in place of a former one, and returns it.
// An export keeps its number as long as it has a record.
func (s *Store) Put(e nfs.Export) (Record, error) {
	r, ok := s.byID[e.ID]
	if !ok {
		if r.Number = s.number(e); r.Number == 0 {
			return Record{}, fmt.Errorf("%d exports are more than a server can number", len(s.used))
		}
	}
	r.Export = e
	b, err := json.Marshal(r)
	if err != nil {
		return Record{}, err
	}
	name := filepath.Join(s.dir, fileName(e.ID))
	if err := writeWhole(name, b); err != nil {
		return Record{}, err
	}
	s.byID[e.ID], s.used[r.Number] = r, e.ID
	return r, nil
}

// number picks a number of at most 16 bits that no other record has, the same
// one for an ID if it is free; 0 if there is none.
func (s *Store) number(e nfs.Export) uint32 {
	const most = 0xffff
	sum := e.FSID()
	n := uint32(sum[0])<<8 | uint32(sum[1])
	for range most + 1 {
		if _, taken := s.used[n]; n != 0 && !taken {
			return n
		}
		n = (n + 1) & most
	}
	return 0
}

// Delete removes a record. One that is not there is no error.
func (s *Store) Delete(id string) error {
	r, ok := s.byID[id]
	if !ok {
		return nil
	}
	if err := os.Remove(filepath.Join(s.dir, fileName(id))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	delete(s.byID, id)
	delete(s.used, r.Number)
	return nil
}

// Conflict returns an [nfs.ErrConflict] that names the other export which has
// the path, to whichever client, or the folder.
func (s *Store) Conflict(e nfs.Export) error {
	for _, r := range s.All() {
		switch {
		case r.ID == e.ID:
		case r.Path == e.Path:
			return fmt.Errorf("%w: path %s is of export %q, to %s", nfs.ErrConflict, e.Path, r.ID, r.Client)
		case r.Dir == e.Dir:
			return fmt.Errorf("%w: folder %s is of export %q, to %s", nfs.ErrConflict, e.Dir, r.ID, r.Client)
		}
	}
	return nil
}

// writeWhole makes a file be there whole or not at all.
func writeWhole(name string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "fresh-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
