package engine

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// may says which of our packages each part of the tree may import, by prefix.
// A package finds its row by the longest prefix.
var may = map[string][]string{
	"picloud":               {"picloud/"},
	"picloud/engine":        nil,
	"picloud/engine/bill":   {"picloud/engine"},
	"picloud/engine/config": {"picloud/engine"},
	"picloud/engine/daemon": {"picloud/engine", "picloud/store", "picloud/netboot", "picloud/hw", "picloud/tui"},
	"picloud/store":         {"picloud/engine"},
	"picloud/tui":           {"picloud/engine", "picloud/tui"},
	"picloud/netboot":       nil,
	"picloud/hw":            nil,
	"picloud/hw/hwtest":     {"picloud/hw/poe"},
	"picloud/hw/sim":        {"picloud/hw/sim", "picloud/netboot/dhcp/wire", "picloud/netboot/bootfs/order", "picloud/netboot/report"},
}

// TestImportsPointOneWay holds the packages against the table above. The
// packages of one part (netboot/nfs and what is below it) may import each other.
func TestImportsPointOneWay(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "picloud/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		for _, imported := range pkg.Imports {
			if strings.HasPrefix(imported, "picloud/") && !allowed(pkg.ImportPath, imported) {
				t.Errorf("%s imports %s", pkg.ImportPath, imported)
			}
		}
	}
}

func allowed(pkg, imported string) bool {
	if within(imported, family(pkg)) && family(pkg) != "picloud/engine" {
		return true
	}
	row := ""
	for prefix := range may {
		if within(pkg, prefix) && len(prefix) > len(row) {
			row = prefix
		}
	}
	for _, prefix := range may[row] {
		if within(imported, strings.TrimSuffix(prefix, "/")) {
			return true
		}
	}
	return false
}

func within(pkg, prefix string) bool { return pkg == prefix || strings.HasPrefix(pkg, prefix+"/") }

// family is the part a package belongs to: picloud/netboot/nfs of all below it.
func family(pkg string) string {
	parts := strings.SplitN(pkg, "/", 4)
	return strings.Join(parts[:min(len(parts), 3)], "/")
}
