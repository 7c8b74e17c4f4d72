package virtualpi

import (
	"encoding/json"
	"io"
)

// guestReset is the reason of a SHUTDOWN event after the guest has restarted its
// machine (QEMU Machine Protocol reference, ShutdownCause).
const guestReset = "guest-reset"

// watch speaks to QEMU's monitor until the connection ends, and returns why the
// guest has been shut down, or nothing if it has not been.
func watch(conn io.ReadWriter) (reason string) {
	// No event comes before the capabilities have been negotiated.
	if _, err := io.WriteString(conn, `{"execute":"qmp_capabilities"}`+"\n"); err != nil {
		return ""
	}
	d := json.NewDecoder(conn)
	for {
		var m struct {
			Event string
			Data  struct{ Reason string }
		}
		if err := d.Decode(&m); err != nil {
			return reason
		}
		if m.Event == "SHUTDOWN" {
			reason = m.Data.Reason
		}
	}
}
