package daemon

import (
	"context"
	"fmt"
	"path"
	"strings"

	"picloud/engine"
	"picloud/netboot/bootfs"
	"picloud/netboot/tftp"
)

// bootTree serves each Pi its own boot folder. Who asks is told by the address
// and, since an address can be forged, by the interface and the server address
// that the request came in by.
type bootTree struct {
	routes *routes
	table  func() *engine.BootTable
	folder func(engine.BootEntry) (*bootfs.Folder, error)
}

// Open is tftp.Tree's.
func (t bootTree) Open(_ context.Context, r tftp.Request) (tftp.File, error) {
	e, ok := t.table().Client(r.Client.Addr())
	if !ok {
		return nil, tftp.ErrUnknownClient
	}
	if r.Interface != 0 && t.routes.find(r.Interface, r.Server) != e.Segment.Name {
		return nil, fmt.Errorf("%w: %s asks from another segment", tftp.ErrUnknownClient, e.Pi)
	}
	if !e.Allowed {
		return nil, fmt.Errorf("%w: %s may not boot", tftp.ErrDenied, e.Pi)
	}
	folder, err := t.folder(e)
	if err != nil {
		return nil, err
	}
	file, err := folder.Open(r.Name)
	if err != nil {
		return nil, err
	}
	return file, nil
}

var tftpKinds = map[tftp.Kind]string{
	tftp.Started:        "requested",
	tftp.Served:         "served",
	tftp.NotFound:       "notfound",
	tftp.EarlyTerminate: "early",
	tftp.Replaced:       "early",
	tftp.Refused:        "refused",
	tftp.Failed:         "failed",
}

func tftpObservation(e tftp.Event) engine.Observation {
	seen := &engine.TFTPSeen{
		Client: e.Client.Addr().Unmap(), Kind: tftpKinds[e.Kind], Name: e.Name, Bytes: e.Bytes, Size: e.Size,
		Kernel: isKernel(e), Asked: e.Time.Add(-e.Took),
	}
	if e.Err != nil {
		seen.Reason = e.Err.Error()
	}
	return engine.Observation{Time: e.Time, TFTP: seen}
}

// isKernel tells whether a kernel was asked for. Of a file that was not opened
// there is only its name (config_txt/boot.adoc, "kernel").
func isKernel(e tftp.Event) bool {
	if f, ok := e.File.(*bootfs.File); ok {
		return f.Kernel()
	}
	base := path.Base(e.Name)
	return strings.HasPrefix(base, "kernel") && strings.HasSuffix(base, ".img")
}
