package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// MaxSize is the largest configuration that is read, in bytes. A segment takes
// some 150, so it is room for 20,000 of them.
const MaxSize = 4 << 20

// byteOrderMark is put before UTF-8 by some editors.
var byteOrderMark = []byte("\xef\xbb\xbf")

// Parse reads a configuration. name is the file's name in the problems. It
// returns either a Config that is right in itself, or every mistake; it does
// not look at the files and folders that the configuration names, as Load does.
func Parse(name string, data []byte, known Known) (*Config, []Problem) {
	c, list := parse(name, data, known)
	return result(c, list)
}

// Read reads a configuration of at most MaxSize bytes, such as standard input,
// as Parse does.
func Read(name string, r io.Reader, known Known) (*Config, []Problem) {
	data, err := readAll(r, MaxSize)
	if err != nil {
		return nil, []Problem{{File: name, Message: cause(err)}}
	}
	return Parse(name, data, known)
}

// Load reads the configuration in a file, as Parse does, and checks what it
// names on this machine: the folders of the images, and the credentials of the
// switches, which it reads.
func Load(path string, known Known) (*Config, []Problem) {
	data, err := readFile(path)
	if err != nil {
		p := Problem{File: path, Message: cause(err)}
		if errors.Is(err, fs.ErrNotExist) {
			p.Remedy = "picloud config template > " + path
		}
		return nil, []Problem{p}
	}
	c, list := parse(path, data, known)
	c.checkFiles(list)
	return result(c, list)
}

func result(c *Config, list *problems) (*Config, []Problem) {
	if found := list.sorted(); len(found) > 0 {
		return nil, found
	}
	return c, nil
}

func parse(name string, data []byte, known Known) (*Config, *problems) {
	list := &problems{file: name}
	src := &source{file: name, at: make(map[place]position), bad: make(map[place]bool)}
	c := Default()
	c.source = src
	if len(data) > MaxSize {
		list.add(position{}, errTooLarge(MaxSize).Error(), "")
		return c, list
	}
	tables := schema(known)
	readTables(c, tables, data, src, list)
	c.validate(tables, list)
	return c, list
}

// readTables fills in c from a document of those tables.
func readTables(c *Config, tables []table, data []byte, src *source, list *problems) {
	data = bytes.TrimPrefix(data, byteOrderMark)
	newDecoder(c, tables, data, src, list).run()
	if len(list.found) == 0 {
		checkTOML(data, list)
	}
}

// checkTOML lets the TOML library have the last word on what the decoder takes
// more loosely: the ways in which TOML forbids to define a table twice.
func checkTOML(data []byte, list *problems) {
	var all map[string]any
	err := toml.Unmarshal(data, &all)
	var derr *toml.DecodeError
	if errors.As(err, &derr) {
		line, column := derr.Position()
		list.add(position{line, column}, strings.TrimPrefix(derr.Error(), "toml: "), "write each table in one way: [table], table.key or table = {}")
	} else if err != nil {
		list.add(position{}, err.Error(), "")
	}
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, MaxSize)
}

func readAll(r io.Reader, most int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err == nil && len(data) > most {
		err = errTooLarge(most)
	}
	return data, err
}

func errTooLarge(most int) error { return fmt.Errorf("larger than %d KiB", most>>10) }

// cause leaves out of a file's error what a Problem says anyway: its name.
func cause(err error) string {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		return perr.Op + ": " + perr.Err.Error()
	}
	return err.Error()
}

// checkFiles looks at what the configuration names on this machine.
func (c *Config) checkFiles(list *problems) {
	if info, err := os.Stat(c.State); c.State != "" && err == nil && !info.IsDir() {
		list.add(c.source.position(place{key: "state"}), fmt.Sprintf("state: %s is not a folder", c.State), "a folder, or a path where nothing is yet")
	}
	c.checkCertificate(list)
	for i := range c.Images {
		c.checkImage(i, list)
	}
	for i := range c.Switches {
		c.loadCredentials(i, list)
	}
}

// checkImage wants a folder that can be a root with its boot files.
func (c *Config) checkImage(i int, list *problems) {
	image := &c.Images[i]
	if image.Path == "" || cleanPath(image.Path) != nil {
		return
	}
	for _, dir := range []string{image.Path, filepath.Join(image.Path, "boot/firmware")} {
		info, err := os.Stat(dir)
		switch {
		case err != nil:
			err = errors.New(cause(err))
		case !info.IsDir():
			err = errors.New("not a folder")
		default:
			continue
		}
		list.add(c.source.position(place{table: "image", i: i, key: "path"}),
			fmt.Sprintf("%s path: %s: %v", title("image", image.Name), dir, err),
			"a folder with the image's root, its boot partition in boot/firmware")
		return
	}
}

// loadCredentials reads a switch's secrets; what is wrong in their file is
// reported at its place there.
func (c *Config) loadCredentials(i int, list *problems) {
	s := &c.Switches[i]
	p := place{table: "switch", i: i, key: "credentials"}
	if s.CredentialsFile == "" || c.source.spoilt(p) || cleanPath(s.CredentialsFile) != nil {
		return
	}
	credentials, found := ReadCredentials(s.CredentialsFile)
	for _, f := range found {
		if f.Line == 0 { // the file as a whole
			f = Problem{
				File: list.file, Line: c.source.position(p).line, Column: c.source.position(p).column,
				Message: fmt.Sprintf("%s credentials: %s: %s", title("switch", s.Name), s.CredentialsFile, f.Message),
				Remedy:  f.Remedy,
			}
		}
		list.found = append(list.found, f)
	}
	if len(found) > 0 {
		return
	}
	s.Credentials = credentials
	if f := credentials.fits(s.Version); f != nil {
		list.add(c.source.position(p), fmt.Sprintf("%s credentials: %s %s", title("switch", s.Name), s.CredentialsFile, f.message), f.remedy)
	}
}
