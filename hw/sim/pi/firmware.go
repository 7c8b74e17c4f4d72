package pi

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"

	"picloud/netboot/bootfs/order"
)

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// Quirks of single 3B boards, by seed.
const (
	// holdOneIn: of so many 3Bs one looks at a packet only when the next one comes
	// (raspberrypi/firmware issues 764, 894).
	holdOneIn = 3
	// deafOneIn: of so many 3Bs one has a bootcode.bin that ignores OFFERs for up
	// to a minute, twelve DISCOVERs (firmware issues 941, 1124).
	deafOneIn  = 8
	deafAtMost = 11
)

// quirks are what a board does that others of its family do not.
type quirks struct {
	hold bool // packets wait for the next one
	deaf int  // OFFERs that bootcode.bin ignores
}

// quirksOf draws the board's quirks from its seed; later boots draw the same.
func (b *boot) quirksOf() quirks {
	var q quirks
	if b.cfg.Board.Family != order.Pi3B {
		return q
	}
	q.hold = b.board.IntN(holdOneIn) == 0
	if b.board.IntN(deafOneIn) == 0 {
		q.deaf = 1 + b.board.IntN(deafAtMost)
	}
	return q
}

// loaded is what the firmware hands to the kernel.
type loaded struct {
	cmdline   string
	initramfs bool
	handed    Loaded // of a Pi with a Boot of its own
}

// bootROM is the way of the 3B and 3B+: the mask ROM fetches bootcode.bin, which
// asks for an address again and fetches the rest.
func (b *boot) bootROM() (loaded, error) {
	q := b.quirksOf()
	fam := b.cfg.Board.Family
	l, err := b.discoverROM(romDialect[fam], romAttempts, 0, q.hold)
	if err != nil {
		return loaded{}, err
	}
	w := b.walker(l, romDatagram)
	w.tries = romTFTPTries
	if err := w.setUp(); err != nil {
		return loaded{}, err
	}
	rest, err := w.stage(order.Sequence(fam), order.ROM)
	if err != nil {
		return loaded{}, err
	}
	if err := b.wait(b.times.Firmware); err != nil {
		return loaded{}, err
	}
	// bootcode.bin sets the interface up anew.
	b.reset()
	l, err = b.discoverROM(dialectBootcode, bootcodeAttempts, q.deaf, false)
	if err != nil {
		return loaded{}, err
	}
	w = b.walker(l, romDatagram)
	w.tries = romTFTPTries
	return w.load(rest)
}

// bootEEPROM is the way of the 4B and 5 with BOOT_ORDER=0xf2: the network, again
// and again.
func (b *boot) bootEEPROM() (loaded, error) {
	for {
		l, err := b.requestEEPROM()
		if err != nil {
			return loaded{}, err
		}
		if !l.server.IsValid() {
			continue // DHCP_TIMEOUT passed: next boot mode, which is the network
		}
		w := b.walker(l, Datagram{TTL: eepromTTL, Checksum: true})
		w.total = max(b.scale(eepromFile), minFileWait)
		k, err := w.load(order.Sequence(b.cfg.Board.Family))
		if !errors.Is(err, errStopped) && !errors.Is(err, errTFTPTimeout) || b.fault == BadFirmware {
			return k, err
		}
		b.setState(StageDHCP, "network boot failed, trying again: "+err.Error())
		b.reset()
		if err := b.sleep(b.scale(eepromRetry)); err != nil {
			return loaded{}, err
		}
	}
}

// walker goes through the files of a boot.
type walker struct {
	*boot
	tftp
	lease  lease
	prefix string
	probed bool // whether the prefix has been settled

	config  *settings
	found   map[string]bool // of names without prefix: seen by a probe or transferred
	have    map[string]bool // transferred whole
	missing map[string]bool // answered with an error
	cmdline string
	kept    kept
}

// walker makes a walker whose first port is 49152 again, as every program's is.
func (b *boot) walker(l lease, style Datagram) *walker {
	return &walker{
		boot: b, lease: l, prefix: b.cfg.Board.SerialText() + "/",
		config: new(settings), found: make(map[string]bool), have: make(map[string]bool), missing: make(map[string]bool),
		kept: kept{files: make(map[string][]byte)},
		tftp: tftp{
			nic: b.cfg.NIC, server: netip.AddrPortFrom(l.server, b.cfg.TFTPPort), style: style,
			rate: b.times.Rate * b.cfg.Speed, resend: b.packetWait(tftpResend),
			pause: b.sleep, onClose: b.cutOff, counters: &b.counters,
		},
	}
}

// setUp gives the interface its address. The 3B's ROM and the bootcode.bin that
// it loads stop answering ARP as soon as a transfer begins (boot-net.adoc).
func (w *walker) setUp() error {
	if err := w.cfg.NIC.Configure(w.lease.addressing); err != nil {
		return err
	}
	return w.cfg.NIC.AnswerARP(w.cfg.Board.Family != order.Pi3B)
}

// load fetches all files and returns what the kernel gets.
func (w *walker) load(seq []order.Request) (loaded, error) {
	if err := w.setUp(); err != nil {
		return loaded{}, err
	}
	for _, s := range []order.Stage{order.Bootcode, order.Firmware} {
		rest, err := w.stage(seq, s)
		if err != nil {
			return loaded{}, err
		}
		seq = rest
		if s == order.Bootcode {
			if err := w.wait(w.times.Firmware); err != nil {
				return loaded{}, err
			}
		}
	}
	if err := w.named(); err != nil {
		return loaded{}, err
	}
	if !w.hasKernel() {
		return loaded{}, fmt.Errorf("%w: %w", errStopped, errNoKernel)
	}
	return loaded{cmdline: w.cmdline, initramfs: w.hasInitramfs(), handed: w.handed()}, nil
}

// stage makes the requests of one stage and returns those that follow.
func (w *walker) stage(seq []order.Request, s order.Stage) ([]order.Request, error) {
	for len(seq) > 0 && seq[0].Stage == s {
		if err := w.request(seq[0]); err != nil {
			if w.ctx.Err() != nil {
				return nil, w.ctx.Err()
			}
			return nil, err
		}
		seq = seq[1:]
	}
	return seq, nil
}

// request makes one request of the sequence, if this boot needs it, and those
// that follow from it.
func (w *walker) request(r order.Request) error {
	if w.skip(r) {
		return nil
	}
	if w.fault == BadFirmware && strings.HasSuffix(r.Name, ".dtb") && !strings.Contains(r.Name, "/") {
		r.Name, r.Optional = laterBoard[w.cfg.Board.Family], false
	}
	if done, err := w.settlePrefix(r); done || err != nil {
		return err
	}
	err := w.fetch(r)
	switch {
	case isMissing(err) && r.Optional:
		return nil
	case isMissing(err):
		return fmt.Errorf("%w: %w", errStopped, err)
	case err != nil:
		return err
	}
	switch r.Name {
	case overlayMap:
		return w.overlays(r)
	case "pieeprom.sig":
		// Anything served here differs from what is installed: self-update.
		return w.optional(r, "pieeprom.upd")
	}
	return nil
}

const overlayMap = "overlays/overlay_map.dtb"

// laterBoard is the device tree of a board that the image is older than.
var laterBoard = map[order.Family]string{
	order.Pi3B: "bcm2710-rpi-3-c.dtb", order.Pi3BPlus: "bcm2710-rpi-3-c.dtb",
	order.Pi4B: "bcm2711-rpi-4-c.dtb", order.Pi5: "bcm2712-rpi-5-c.dtb",
}

// skip reports whether this boot does not ask for a file: it has an alternative
// already, or the file is known to be missing, or config.txt does not want it.
func (w *walker) skip(r order.Request) bool {
	fam := w.cfg.Board.Family
	if isAutoInitramfs(r.Name) && (!w.config.autoInitramfs || len(w.config.initramfs) > 0) {
		return true // see named
	}
	if w.config.kernel != "" && order.IsKernel(fam, r.Name) && r.Optional {
		return true // see named
	}
	for _, group := range order.Need(fam) {
		if !slices.Contains(group, r.Name) || len(group) == 1 {
			continue
		}
		for _, other := range group {
			if other != r.Name && w.have[other] {
				return true
			}
		}
		return w.missing[r.Name] || r.Probe && w.anyFound(group)
	}
	return false
}

// anyFound reports whether a probe has found one of the names.
func (w *walker) anyFound(names []string) bool {
	for _, n := range names {
		if w.found[n] {
			return true
		}
	}
	return false
}

// settlePrefix looks, at the first file beneath the prefix, whether the board's
// own folder has a start file, and else drops the prefix for good (boot-net.adoc;
// TFTP_PREFIX in eeprom-bootloader.adoc). done means that this has answered r.
func (w *walker) settlePrefix(r order.Request) (done bool, err error) {
	if w.probed || !r.Prefixed {
		return false, nil
	}
	w.probed = true
	names := []string{"start.elf"}
	if !w.cfg.Board.Family.UsesBootcode() {
		names = []string{"start4.elf", "start.elf"}
	}
	for _, name := range names {
		probe := r
		probe.Name, probe.Probe = name, true
		if err := w.fetch(probe); !isMissing(err) {
			return err == nil && name == r.Name, err
		}
	}
	clear(w.missing)
	w.prefix = ""
	return false, nil
}

// isMissing reports whether a server said that it has no such file; firmware
// takes every error answer for that.
func isMissing(err error) bool {
	return errors.Is(err, errNotFound) || errors.Is(err, errTFTP)
}

// fetch makes one request and keeps what the board needs of the file.
func (w *walker) fetch(r order.Request) error {
	name := r.Path(w.prefix)
	w.setState(StageFirmware, name)
	sink := io.Discard
	var text *limited
	switch {
	case r.Name == "config.txt" || r.Name == "cmdline.txt":
		text = new(limited)
		sink = text
	case !r.Probe && w.wants(r.Name):
		sink = w.kept.keep(r.Name)
	}
	trip, struck := w.strikes(r)
	_, err := w.get(r, name, sink, trip)
	switch {
	case errors.Is(err, errTripped):
		return struck()
	case isMissing(err):
		w.missing[r.Name] = true
		return err
	case err != nil:
		return err
	}
	w.found[r.Name] = true
	if r.Probe {
		return nil
	}
	w.have[r.Name] = true
	switch r.Name {
	case "config.txt":
		w.config.read(string(*text), w.cfg.Board.Family)
	case "cmdline.txt":
		w.cmdline = string(*text)
	}
	return nil
}

// strikes reports whether the boot's fault strikes in the middle of this file,
// and what follows then.
func (w *walker) strikes(r order.Request) (bool, func() error) {
	if r.Probe {
		return false, nil
	}
	needed := !r.Optional && r.Stage != order.ROM
	switch {
	case w.fault == TFTPStall && w.isKernel(r.Name):
		return true, func() error { return fmt.Errorf("%w in %s", errHung, r.Name) }
	case w.fault == EEPROMHang && needed:
		return true, w.hangAfterTimeout
	case w.fault == BootLoop && needed:
		return true, func() error { return ErrReset }
	}
	return false, nil
}

// hangAfterTimeout is rpi-eeprom issue 687: the bootloader waits in vain for
// TFTP_FILE_TIMEOUT and does not start again.
func (w *walker) hangAfterTimeout() error {
	if err := w.sleep(w.scale(eepromFile)); err != nil {
		return err
	}
	return errHungTFTP
}

// optional asks for a file that follows from another one and may be missing.
func (w *walker) optional(like order.Request, name string) error {
	like.Name, like.Optional = name, true
	if err := w.fetch(like); err != nil && !isMissing(err) {
		return err
	}
	return nil
}

// overlays asks once for every overlay that config.txt names.
func (w *walker) overlays(like order.Request) error {
	for _, o := range w.config.overlays {
		if err := w.optional(like, "overlays/"+o+".dtbo"); err != nil {
			return err
		}
	}
	return nil
}

// named asks for the kernel and the initramfs that config.txt names in place of
// the default ones. A named initramfs may be missing: the kernel starts without.
func (w *walker) named() error {
	seq := order.Sequence(w.cfg.Board.Family)
	last := seq[len(seq)-1]
	for _, name := range w.config.initramfs {
		if err := w.optional(last, name); err != nil {
			return err
		}
	}
	if w.config.kernel == "" {
		return nil
	}
	last.Name, last.Optional = w.config.kernel, false
	return w.request(last)
}

// hasKernel reports whether a kernel has been loaded.
func (w *walker) hasKernel() bool {
	for name := range w.have {
		if w.isKernel(name) {
			return true
		}
	}
	return false
}

func (w *walker) isKernel(name string) bool {
	if w.config.kernel != "" {
		return name == w.config.kernel
	}
	return order.IsKernel(w.cfg.Board.Family, name)
}

// isAutoInitramfs tells the names that go with the default kernels.
func isAutoInitramfs(name string) bool { return strings.HasPrefix(name, "initramfs") }

func (w *walker) isInitramfs(name string) bool {
	if len(w.config.initramfs) > 0 {
		return slices.Contains(w.config.initramfs, name)
	}
	return isAutoInitramfs(name)
}

func (w *walker) hasInitramfs() bool {
	for name := range w.have {
		if w.isInitramfs(name) {
			return true
		}
	}
	return false
}

// limited keeps the first octets of a text file.
type limited []byte

const maxText = 16 << 10

func (l *limited) Write(p []byte) (int, error) {
	*l = append(*l, p[:min(len(p), maxText-len(*l))]...)
	return len(p), nil
}
