//go:build netns

package netns

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func TestTopology(t *testing.T) {
	top, err := NewTopology("a", "b")
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range []string{"10.77.0.1/30", "10.77.0.5/30"} {
		s := top.Segments[k]
		if s.Server != netip.MustParsePrefix(want) || s.Pi != s.Server.Addr().Next() {
			t.Errorf("segment %s: %v and %v, want %s", s.Name, s.Server, s.Pi, want)
		}
		err := top.Do(func() error {
			_, err := os.Stat(filepath.Join("/proc/sys/net/ipv4/conf", s.ServerInterface))
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	name := filepath.Join("/var/run/netns", top.ServerNamespace)
	if _, err := os.Stat(name); err != nil {
		t.Error(err)
	}
	if err := top.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Errorf("namespace is left: %v", err)
	}
	if _, err := NewTopology(); err == nil {
		t.Error("a topology without segments")
	}
}
