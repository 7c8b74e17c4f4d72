package daemon

import "testing"

// TestImageFolderWaitsForNoServer: a Pi gets its files while an export is being
// withdrawn, which may take as long as the NFS server takes to answer.
func TestImageFolderWaitsForNoServer(t *testing.T) {
	r := &roots{state: "/state"}
	r.elsewhere.Store(&map[string]string{"own": "/srv/own"})
	r.mu.Lock() // as pruneOne holds it
	defer r.mu.Unlock()
	for name, want := range map[string]string{"own": "/srv/own", "builtin": "/state/images/builtin"} {
		if got := r.imageFolder(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
