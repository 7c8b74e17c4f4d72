package rescue

import (
	"bytes"

	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// nfsModule is the one without which nothing can be mounted.
const nfsModule = "nfs"

// wanted are the modules that NFS and the network need on a Pi, and on the
// machines that stand in for one in tests. Raspberry Pi's kernels have most of
// them built in, Debian's have them as modules. A module is loaded wherever it is
// there: without its device it only takes memory.
//
// What a module needs by its symbols is in modules.dep. What is here besides is
// needed by way of the device tree: clocks, resets, buses and PHYs.
var wanted = append(strings.Fields(nfsModule+" nfsv3 nfsv4 ipv6"), networkModules...)

// networkModules are those of wanted that are needed for the network alone.
var networkModules = strings.Fields(`af_packet
	virtio_pci virtio_mmio virtio_net
	clk_raspberrypi reset_raspberrypi raspberrypi_power bcm2835_power gpio_raspberrypi_exp
	mdio_bcm_unimac broadcom bcm_phy_lib bcm7xxx genet
	pcie_brcmstb rp1_pci rp1 clk_rp1 pinctrl_rp1 macb
	phy_generic dwc2 xhci_pci xhci_plat_hcd
	smsc microchip fixed_phy usbnet smsc95xx lan78xx cdc_ether cdc_ncm rndis_host
	bcm2835_wdt bcm2835_rng iproc_rng200`)

const (
	moduleTop = "lib/modules"
	// loadList names the modules of a kernel in the order in which /init loads
	// them. Its lines are paths beside it.
	loadList = "rescue.load"

	maxKernels  = 16
	maxIndex    = 8 << 20 // of modules.dep; Debian's has 600 KB
	maxModule   = 32 << 20
	maxSoftDeps = 1000
)

var versionForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.+~_-]{0,63}$`)

// moduleName returns the name of a module's file as the kernel knows it.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// moduleIndex is what depmod(8) found out about a kernel's modules.
type moduleIndex struct {
	files   map[string]string   // path by name
	needs   map[string][]string // paths by path, of all that must be loaded before, the last one first
	before  map[string][]string // names by name, of soft dependencies
	builtin map[string]bool     // names
}

// parseModules reads modules.dep, modules.softdep and modules.builtin
// (modules.dep(5), modprobe.d(5)). Paths that lead elsewhere are left out.
func parseModules(dep, softdep, builtin []byte) moduleIndex {
	x := moduleIndex{files: map[string]string{}, needs: map[string][]string{}, before: map[string][]string{}, builtin: map[string]bool{}}
	for line := range bytes.Lines(dep) {
		file, rest, ok := strings.Cut(string(line), ":")
		if !ok || !isModule(file) {
			continue
		}
		x.files[moduleName(file)] = file
		for _, n := range strings.Fields(rest) {
			if isModule(n) {
				x.needs[file] = append(x.needs[file], n)
			}
		}
	}
	soft := 0
	for line := range bytes.Lines(softdep) {
		f := strings.Fields(string(line))
		if soft++; len(f) < 3 || f[0] != "softdep" || soft > maxSoftDeps {
			continue
		}
		name, pre := moduleName(f[1]), false
		for _, w := range f[2:] {
			switch {
			case strings.HasSuffix(w, ":"):
				pre = w == "pre:"
			case pre:
				x.before[name] = append(x.before[name], moduleName(w))
			}
		}
	}
	for line := range bytes.Lines(builtin) {
		if l := strings.TrimSpace(string(line)); l != "" {
			x.builtin[moduleName(l)] = true
		}
	}
	return x
}

func isModule(file string) bool {
	return fs.ValidPath(file) && file != "." && strings.Contains(path.Base(file), ".ko") && !strings.ContainsAny(file, " \t\r\n")
}

// has tells whether a kernel can do something, by a module or without.
func (x moduleIndex) has(name string) bool { return x.builtin[name] || x.files[name] != "" }

// order returns the paths of the modules with those names and of all that they
// need, each behind what it needs.
func (x moduleIndex) order(names []string) []string {
	var list []string
	seen := map[string]bool{}
	add := func(file string) {
		if !seen[file] {
			seen[file] = true
			list = append(list, file)
		}
	}
	visited := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		file := x.files[name]
		if visited[name] || file == "" {
			return
		}
		visited[name] = true
		for _, n := range slices.Backward(x.needs[file]) {
			visit(moduleName(n))
			add(n)
		}
		for _, n := range x.before[name] {
			visit(n)
		}
		add(file)
	}
	for _, n := range names {
		visit(n)
	}
	return list
}

// kernels returns the versions whose modules are taken: that of the one kernel
// that can boot, or where the firmware has a choice, all that there are.
func (t *tree) kernels(bootFile string) ([]string, error) {
	top, err := t.find(moduleTop)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names, err := t.names(top.real)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(v string) bool {
		_, err := t.file(path.Join(top.real, v, "modules.dep"))
		return err != nil || !versionForm.MatchString(v)
	})
	if v, ok := strings.CutPrefix(bootFile, "vmlinuz-"); ok && slices.Contains(names, v) {
		names = []string{v}
	}
	if len(names) > maxKernels {
		return nil, fmt.Errorf("%w: %d kernels in %s (remove old ones)", ErrTooLarge, len(names), moduleTop)
	}
	return names, nil
}

// addModules takes the modules of some kernels, and returns how many there are,
// and the kernels that lack the one that there must be.
func (t *tree) addModules(ctx context.Context, versions []string, p *parts) (count int, without []string, err error) {
	for _, v := range versions {
		dir := path.Join(moduleTop, v)
		x := parseModules(t.text(dir+"/modules.dep", maxIndex), t.text(dir+"/modules.softdep", maxIndex), t.text(dir+"/modules.builtin", maxIndex))
		if p.must != "" && !x.has(p.must) {
			without = append(without, v)
			continue
		}
		var list []byte
		for _, file := range x.order(p.modules) {
			if ctx.Err() != nil {
				return 0, nil, context.Cause(ctx)
			}
			plain, err := t.addModule(dir, file)
			if err != nil {
				return 0, nil, fmt.Errorf("module %s of kernel %s: %w", file, v, err)
			}
			list = append(append(list, plain...), '\n')
			count++
		}
		if err := t.own(path.Join(dir, loadList), 0o644, list); err != nil {
			return 0, nil, err
		}
	}
	return count, without, nil
}

// addModule takes one module, uncompressed: then neither the kernel nor insmod
// has to know the compression, and the whole archive becomes smaller. It returns
// the path beside the index.
func (t *tree) addModule(dir, file string) (string, error) {
	f, err := t.file(path.Join(dir, file))
	if err != nil {
		return "", err
	}
	r, err := t.open(f.real)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := unpackModule(r, path.Ext(file))
	if err != nil {
		return "", err
	}
	plain := strings.TrimSuffix(file, path.Ext(file))
	if path.Ext(plain) != ".ko" {
		plain = file
	}
	return plain, t.own(path.Join(dir, plain), 0o644, b)
}

// unpackModule reads a module whose name ends so.
func unpackModule(r io.Reader, ext string) ([]byte, error) {
	switch ext {
	case ".gz":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		r = z
	case ".xz":
		// The dictionary is as large as the file says, but no more of it is
		// touched than is read below.
		z, err := xz.NewReader(r)
		if err != nil {
			return nil, err
		}
		r = z
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxModule))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	}
	b, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxModule {
		return nil, fmt.Errorf("%w: more than %d MB", ErrTooLarge, maxModule>>20)
	}
	if !bytes.HasPrefix(b, []byte("\x7fELF")) {
		return nil, errors.New("not a module")
	}
	return b, nil
}
