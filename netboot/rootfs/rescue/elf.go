package rescue

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// need is what a program says it cannot run without.
type need struct {
	interpreter string
	libraries   []string // DT_NEEDED
	paths       []string // DT_RPATH and DT_RUNPATH
	class       elf.Class
	machine     elf.Machine
}

const maxInterpreter = 256

// readNeed reads a program: of ELF (elf(5)), or a script by its first line
// (execve(2)). Other files need nothing.
func readNeed(r io.ReaderAt) (need, error) {
	head := make([]byte, maxInterpreter)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return need{}, err
	}
	head = head[:n]
	if line, ok := bytes.CutPrefix(head, []byte("#!")); ok {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		if f := strings.Fields(string(line)); len(f) > 0 && path.IsAbs(f[0]) {
			return need{interpreter: f[0]}, nil
		}
		return need{}, nil
	}
	if !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return need{}, nil
	}
	return readELF(r)
}

func readELF(r io.ReaderAt) (need, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return need{}, err
	}
	defer f.Close()
	n := need{class: f.Class, machine: f.Machine}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > maxInterpreter {
			continue
		}
		b, err := io.ReadAll(p.Open())
		if err != nil {
			return need{}, err
		}
		n.interpreter = string(bytes.TrimRight(b, "\x00"))
	}
	// A program that is linked statically has no such section.
	if n.libraries, err = f.DynString(elf.DT_NEEDED); err != nil {
		return need{}, err
	}
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		values, err := f.DynString(tag)
		if err != nil {
			return need{}, err
		}
		for _, v := range values {
			n.paths = append(n.paths, strings.Split(v, ":")...)
		}
	}
	return n, nil
}

// multiarch are Debian's names of the folders with an architecture's libraries
// (wiki.debian.org/Multiarch/Tuples).
var multiarch = map[elf.Machine]string{
	elf.EM_X86_64: "x86_64-linux-gnu", elf.EM_386: "i386-linux-gnu", elf.EM_AARCH64: "aarch64-linux-gnu",
	elf.EM_ARM: "arm-linux-gnueabihf", elf.EM_RISCV: "riscv64-linux-gnu",
}

// trusted are the folders that Debian's ld.so looks into without being told.
func trusted(m elf.Machine) []string {
	var dirs []string
	for _, d := range []string{"lib", "usr/lib"} {
		if a := multiarch[m]; a != "" {
			dirs = append(dirs, path.Join(d, a))
		}
	}
	return append(dirs, "lib", "usr/lib", "lib64", "usr/lib64")
}

// linker finds libraries as ld.so(8) does.
type linker struct {
	*tree
	configured []string // of ld.so.conf
}

const (
	maxConf  = 64 << 10
	maxConfs = 100
)

func newLinker(t *tree) *linker {
	l := &linker{tree: t}
	l.readConf("etc/ld.so.conf", map[string]bool{})
	return l
}

// readConf reads ld.so.conf, with the files that it includes, each once.
func (l *linker) readConf(name string, read map[string]bool) {
	if read[name] || len(read) >= maxConfs {
		return
	}
	read[name] = true
	b := l.text(name, maxConf)
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		switch {
		case len(f) == 2 && f[0] == "include":
			l.include(path.Join(path.Dir(name), f[1]), f[1], read)
		case len(f) == 1 && path.IsAbs(f[0]):
			l.configured = append(l.configured, f[0])
		}
	}
}

// include reads the files of a pattern such as ld.so.conf.d/*.conf.
func (l *linker) include(relative, pattern string, read map[string]bool) {
	if path.IsAbs(pattern) {
		relative = pattern[1:]
	}
	dir, err := l.find(path.Dir(relative))
	if err != nil {
		return
	}
	names, _ := l.names(dir.real)
	for _, n := range names {
		if ok, _ := path.Match(path.Base(relative), n); ok {
			l.readConf(path.Join(dir.real, n), read)
		}
	}
}

// text returns the content of a file, "" if it is none or too long.
func (t *tree) text(name string, limit int64) []byte {
	f, err := t.file(name)
	if err != nil || f.info.Size() > limit {
		return nil
	}
	r, err := t.open(f.real)
	if err != nil {
		return nil
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil || int64(len(b)) > limit {
		return nil
	}
	return b
}

// program takes a file and all that it needs to run.
func (l *linker) program(f found) error {
	for queue := []found{f}; len(queue) > 0; {
		f, queue = queue[0], queue[1:]
		if known, err := l.take(f); err != nil {
			return err
		} else if known {
			continue
		}
		more, err := l.needs(f.real)
		if err != nil {
			return fmt.Errorf("%s: %w", f.real, err)
		}
		queue = append(queue, more...)
	}
	return nil
}

// needs returns the files that the file at a real path needs.
func (l *linker) needs(real string) ([]found, error) {
	r, err := l.open(real)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	n, err := readNeed(r)
	if err != nil {
		return nil, err
	}
	var list []found
	if n.interpreter != "" {
		f, err := l.file(n.interpreter)
		if err != nil {
			return nil, fmt.Errorf("needs interpreter %s: %w", n.interpreter, err)
		}
		list = append(list, f)
	}
	for _, name := range n.libraries {
		f, err := l.library(name, path.Dir(real), n)
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

// library finds a library for a program in folder origin. Where ld.so would need
// its cache to find it, it gets a link from /usr/lib.
func (l *linker) library(name, origin string, n need) (found, error) {
	if strings.Contains(name, "/") {
		f, err := l.file(name)
		if err != nil {
			return found{}, fmt.Errorf("needs library %s: %w", name, err)
		}
		return f, nil
	}
	var dirs []string
	for _, p := range n.paths {
		// $LIB and $PLATFORM are in no Debian package.
		p = strings.NewReplacer("${ORIGIN}", "/"+origin, "$ORIGIN", "/"+origin).Replace(p)
		if path.IsAbs(p) {
			dirs = append(dirs, p)
		}
	}
	own, plain := len(dirs), trusted(n.machine)
	dirs = slices.Concat(dirs, plain, l.configured)
	for i, d := range dirs {
		f, err := l.file(path.Join(d, name))
		if err != nil || !l.fits(f.real, n) {
			continue
		}
		if i >= own+len(plain) {
			err = l.link("usr/lib/"+name, path.Join("/", d, name))
		}
		return f, err
	}
	return found{}, fmt.Errorf("needs library %s: %w", name, fs.ErrNotExist)
}

// fits tells whether a library is for the same processor.
func (l *linker) fits(real string, n need) bool {
	r, err := l.open(real)
	if err != nil {
		return false
	}
	defer r.Close()
	f, err := elf.NewFile(r)
	return err == nil && f.Class == n.class && f.Machine == n.machine
}
