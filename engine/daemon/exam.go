package daemon

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"picloud/engine"
	"picloud/netboot/bootfs"
	"picloud/netboot/dhcp"
	"picloud/netboot/report"
)

// examRecord is what one Pi boots to be examined.
type examRecord struct {
	Image string     `json:"image"` // whose kernel it boots
	Base  memoryBase `json:"base"`
	// Token lets its report count. It is new for each examination, and nobody is
	// told but the Pi that boots.
	Token string `json:"token"`
}

func (r examRecord) base() memoryBase { return r.Base }

// Examine is engine.Roots'.
func (r *roots) Examine(ctx context.Context, pi engine.Pi, img string) error {
	base, err := baseOf(ctx, r, &r.exams, img)
	if err != nil {
		return err
	}
	record := examRecord{Image: img, Base: base, Token: rand.Text()}
	if err := r.order(pi.Segment, record).Validate(); err != nil {
		return err
	}
	return r.exams.write(string(pi.Name), record)
}

// order is what a board is told that is to be examined.
func (r *roots) order(s engine.Segment, record examRecord) report.Order {
	return report.Order{
		Server: netip.AddrPortFrom(s.Server, uint16(r.exam.Port)), Address: s.Addr,
		Token: record.Token, Burn: max(time.Second, r.exam.Burn),
	}
}

// examFolder is the boot folder of a Pi that is examined. Nothing in it is any
// customer's.
func (r *roots) examFolder(e engine.BootEntry) (*bootfs.Folder, error) {
	record, err := r.exams.read(string(e.Pi))
	if err != nil {
		return nil, fmt.Errorf("boot folder of %s, under examination: %w", e.Pi, err)
	}
	return r.memoryFolder(e, record.Image, record.Base, r.order(e.Segment, record).Args(), func() (bootfs.Content, error) {
		return openContent(record.Base.File)
	})
}

// fileContent is a file that is served as it is.
type fileContent struct {
	io.Reader
	*os.File
	size int64
}

func openContent(path string) (bootfs.Content, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &fileContent{io.LimitReader(f, info.Size()), f, info.Size()}, nil
}

func (c *fileContent) Read(p []byte) (int, error) { return c.Reader.Read(p) }
func (c *fileContent) Size() int64                { return c.size }

// newReports makes what boards under examination report to.
func (d *Daemon) newReports() *report.Server {
	return report.New(report.Config{
		Take: d.takeReport, Log: d.opts.Log,
		Refused: func(client netip.Addr, why error) {
			d.observe(engine.Observation{Time: time.Now(), Report: &engine.ReportSeen{Client: client, Refused: why.Error()}})
		},
	})
}

// takeReport takes a report that counts: of the Pi that is examined, with the
// token that it was given with its boot files.
func (d *Daemon) takeReport(client netip.Addr, token string, said report.Report) error {
	e, ok := d.bootTable().Client(client)
	if !ok || !e.Exam {
		return fmt.Errorf("%w: it is not examined", report.ErrRefused)
	}
	record, err := d.roots.exams.read(string(e.Pi))
	if err != nil {
		return fmt.Errorf("%w: %w", report.ErrRefused, err)
	}
	if subtle.ConstantTimeCompare([]byte(token), []byte(record.Token)) != 1 {
		return fmt.Errorf("%w: it has the token of another examination", report.ErrRefused)
	}
	d.observe(engine.Observation{Time: time.Now(), Report: reportSeen(client, said)})
	return nil
}

// reportSeen puts a report in the engine's words.
func reportSeen(client netip.Addr, r report.Report) *engine.ReportSeen {
	const kilo = 1024
	revision := dhcp.Revision(r.Revision)
	return &engine.ReportSeen{
		Client: client, Done: r.Done,
		Board: r.Board, Model: modelOf(revision, r.Board), Serial: uint32(r.Serial), MAC: engine.MAC(r.MAC),
		Memory: r.MemoryKB / kilo, Sold: revision.MemoryMB(), Cores: r.Cores,
		Heat: r.Heat, HasHeat: r.HasHeat, Throttled: engine.Throttled(r.Throttled), HasThrottled: r.HasThrottled,
		Burned: r.Burned, Computed: r.Computed, Miscomputed: r.Miscomputed, Checked: r.CheckedMB, Miswritten: r.Miswritten,
		Shortcomings: r.Trouble,
	}
}

// boardTypes are the types of a revision code that boot as one of the models.
var boardTypes = map[string]engine.Model{
	"3B": engine.Model3B, "3B+": engine.Model3BPlus, "4B": engine.Model4B, "400": engine.Model4B, "CM4": engine.Model4B,
	"5": engine.Model5, "500": engine.Model5, "CM5": engine.Model5, "CM5 Lite": engine.Model5,
}

// boardNames are how the device trees call them (Linux, arch/arm64/boot/dts/
// broadcom), the longer of two names first.
var boardNames = []struct {
	prefix string
	model  engine.Model
}{
	{"Raspberry Pi 3 Model B Plus", engine.Model3BPlus}, {"Raspberry Pi 3 Model B+", engine.Model3BPlus}, {"Raspberry Pi 3 Model B", engine.Model3B},
	{"Raspberry Pi 4", engine.Model4B}, {"Raspberry Pi Compute Module 4", engine.Model4B},
	{"Raspberry Pi 5", engine.Model5}, {"Raspberry Pi Compute Module 5", engine.Model5},
}

// modelOf is the model that a board is, by its revision code, else by its name.
func modelOf(revision dhcp.Revision, name string) engine.Model {
	if m, ok := boardTypes[revision.Model()]; ok {
		return m
	}
	for _, b := range boardNames {
		if strings.HasPrefix(name, b.prefix) {
			return b.model
		}
	}
	return engine.ModelUnknown
}

// examPlaces are the Pis that may report now.
func (d *Daemon) examPlaces() []report.Place {
	var list []report.Place
	d.bootTable().Entries(func(e engine.BootEntry) bool {
		if e.Exam {
			list = append(list, report.Place{
				Listen: netip.AddrPortFrom(e.Segment.Server, uint16(d.roots.exam.Port)), Client: e.Segment.Addr.Addr(),
			})
		}
		return true
	})
	return list
}
