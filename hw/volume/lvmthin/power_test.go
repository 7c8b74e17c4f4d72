package lvmthin

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"picloud/hw/volume"
	"picloud/hw/volume/volumetest"
)

// The disk of a test that cuts its power is in parts: what is written, the
// record of that (Documentation/admin-guide/device-mapper/log-writes.rst), what
// is written again up to a cut, and what is written after it.
const (
	cutGroup = "cut"
	cutPool  = "pool"
	partSize = 768 << 20
	logSize  = 3 << 30
	sector   = 512
)

// recorder writes the record of a disk, and reads it.
type recorder struct {
	state string // the driver's
	parts map[string]string
}

func mapper(name string) string { return "/dev/mapper/cut-" + name }

// dm makes a device of device mapper.
func dm(t *testing.T, name string, size int64, table string) string {
	t.Helper()
	must(t, "dmsetup", "create", "cut-"+name, "--table", fmt.Sprintf("0 %d %s", size/sector, table))
	t.Cleanup(func() { _ = exec.Command("dmsetup", "remove", "cut-"+name).Run() })
	return mapper(name)
}

// useOnly has LVM see one disk, in this process and what it starts.
func useOnly(t *testing.T, device string) {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf(`activation { monitoring = 0 udev_sync = 0 udev_rules = 0 }
backup { backup = 0 archive = 0 }
devices { obtain_device_list_from_udev = 0 scan_lvs = 0 global_filter = [ "a|^%s$|", "r|.*|" ] }
global { use_lvmpolld = 0 notify_dbus = 0 }
`, device)
	check(t, os.WriteFile(filepath.Join(dir, "lvm.conf"), []byte(config), 0o644))
	t.Setenv("LVM_SYSTEM_DIR", dir)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *recorder) record(t *testing.T) (volume.Driver, func(string)) {
	t.Setenv("DM_DISABLE_UDEV", "1") // there is none to make the devices' names
	disk := os.Getenv(inGuest)
	r.parts = map[string]string{}
	at := int64(0)
	for _, p := range []struct {
		name string
		size int64
	}{{"written", partSize}, {"log", logSize}, {"again", partSize}, {"after", partSize}} {
		r.parts[p.name] = dm(t, p.name, p.size, fmt.Sprintf("linear %s %d", disk, at/sector))
		at += p.size
	}
	device := dm(t, "disk", partSize, fmt.Sprintf("log-writes %s %s", r.parts["written"], r.parts["log"]))
	useOnly(t, device)
	must(t, "vgcreate", cutGroup, device)
	must(t, "lvcreate", "--yes", "--type", "thin-pool", "--name", cutPool, "--size", "640m", "--poolmetadatasize", "8m", cutGroup)
	r.state = t.TempDir()
	t.Cleanup(func() { r.putAway(t, r.state) })
	d := r.open(t, r.state)
	return d, func(word string) {
		must(t, "dmsetup", "message", "cut-disk", "0", "mark "+strings.ReplaceAll(word, " ", "_"))
	}
}

func (r *recorder) open(t *testing.T, state string) *Driver {
	t.Helper()
	d, err := Open(t.Context(), state, Options{Group: cutGroup, Pool: cutPool})
	check(t, err)
	return d
}

// putAway unmounts the volumes and deactivates the group.
func (r *recorder) putAway(t *testing.T, state string) {
	unmountAll(t, state)
	_ = exec.Command("vgchange", "--activate", "n", cutGroup).Run() // may be off
}

// entry is a line of the record.
type entry struct {
	sector, count, flags, data uint64
	word                       string // of a mark
	at                         int64  // of its data in the log
}

// Flags of an entry, and the first words of a record (drivers/md/dm-log-writes.c).
const (
	flagFlush, flagFUA, flagDiscard, flagMark = 1, 2, 4, 8
	logMagic                                  = 0x6a736677736872
)

func readLog(t *testing.T, name string) []entry {
	t.Helper()
	f, err := os.Open(name)
	check(t, err)
	defer f.Close()
	head := make([]byte, sector)
	read := func(at int64) []byte {
		_, err := f.ReadAt(head, at)
		check(t, err)
		return head
	}
	b := read(0)
	if magic := binary.LittleEndian.Uint64(b); magic != logMagic {
		t.Fatalf("record begins with %x", magic)
	}
	n, size := binary.LittleEndian.Uint64(b[16:]), int64(binary.LittleEndian.Uint32(b[24:]))
	all := make([]entry, 0, n)
	for at := size; uint64(len(all)) < n; {
		b := read(at)
		e := entry{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:]), "", at + size}
		at += size
		switch {
		case e.flags&flagMark != 0:
			e.word = strings.ReplaceAll(strings.TrimRight(string(b[32:32+e.data]), "\x00"), "_", " ")
		case e.flags&flagDiscard == 0:
			at += int64(e.count) * size
		}
		if size != sector {
			t.Fatalf("sectors of %d bytes", size)
		}
		all = append(all, e)
	}
	return all
}

// cuts ends the recording. A disk that loses power has what was written before
// its last flush: so is the record made, in the order in which disks are told to
// keep what they have.
func (r *recorder) cuts(t *testing.T, perOperation int) map[string][]volumetest.Cut {
	t.Helper()
	r.putAway(t, r.state)
	must(t, "dmsetup", "remove", "cut-disk")
	log := readLog(t, r.parts["log"])
	at := map[string]int{}
	for i, e := range log {
		if e.word != "" {
			at[e.word] = i
		}
	}
	replayed := 0
	replay := func(t *testing.T, upTo int) {
		t.Helper()
		check(t, copyEntries(r.parts["again"], r.parts["log"], log[replayed:upTo]))
		replayed = upTo
	}
	all := map[string][]volumetest.Cut{}
	for word, end := range at {
		name, ok := strings.CutPrefix(word, "done ")
		if !ok {
			continue
		}
		begin := at["doing "+name]
		for i := range perOperation {
			to := begin + (end-begin)*(i+1)/perOperation
			all[word] = append(all[word], volumetest.Cut{
				Name: fmt.Sprintf("%d of %d writes", to-begin, end-begin),
				Open: func(t *testing.T) volume.Driver {
					replay(t, to)
					now := dm(t, "now", partSize, fmt.Sprintf("snapshot %s %s N 8", r.parts["again"], r.parts["after"]))
					useOnly(t, now)
					state := t.TempDir()
					t.Cleanup(func() { r.putAway(t, state) })
					must(t, "vgchange", "--activate", "n", cutGroup)
					return r.open(t, state)
				},
			})
		}
	}
	t.Logf("%d entries in the record", len(log))
	return all
}

// copyEntries does to a disk what the record says.
func copyEntries(disk, log string, entries []entry) (err error) {
	to, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Sync(), to.Close()) }()
	from, err := os.Open(log)
	if err != nil {
		return err
	}
	defer from.Close()
	for _, e := range entries {
		var data io.Reader = io.NewSectionReader(from, e.at, int64(e.count)*sector)
		if e.flags&flagMark != 0 || e.count == 0 {
			continue
		}
		if e.flags&flagDiscard != 0 {
			data = io.LimitReader(zeros{}, int64(e.count)*sector)
		}
		if _, err := io.Copy(io.NewOffsetWriter(to, int64(e.sector)*sector), bufio.NewReaderSize(data, 1<<20)); err != nil {
			return err
		}
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestPowerCut: the host loses its power.
func TestPowerCut(t *testing.T) {
	if os.Getenv(inGuest) == "" {
		t.Skip("needs LVM and a disk of its own: run just vmtest")
	}
	unix.Sync()
	perOperation, only := 4, []string(nil)
	if testing.Short() {
		perOperation, only = 3, []string{"Clone", "Grow", "Snapshot", "Rollback", "Remove"}
	}
	r := &recorder{}
	volumetest.RunPowerCuts(t, volumetest.PowerCutter{
		Record:    r.record,
		Cuts:      func(t *testing.T) map[string][]volumetest.Cut { return r.cuts(t, perOperation) },
		ImageSize: 32 << 20,
		Only:      only,
	})
}
