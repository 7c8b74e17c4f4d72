package pi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"picloud/netboot/bootfs/order"
	"picloud/netboot/report"
)

// InExam: the board boots as any other, and what is wrong with it shows when it
// is examined.
const InExam Place = "examination"

// Names of the faults that an examination finds.
const (
	BadMemory    = "bad-memory"
	HalfMemory   = "half-memory"
	BadProcessor = "bad-processor"
	TooHot       = "too-hot"
	UnderVoltage = "under-voltage"
	PowerHungry  = "power-hungry"
	ExamHang     = "exam-hang"
)

// ExamFaults returns the faults that an examination finds; [Faults] has the ones
// that keep a Pi from coming up.
func ExamFaults() []Fault { return append([]Fault(nil), examFaults...) }

var examFaults = []Fault{
	{BadMemory, allFamilies, InExam,
		"some of the memory does not keep what is written to it",
		"the report tells of blocks that read back otherwise",
		"memory error"},
	{HalfMemory, allFamilies, InExam,
		"half of the memory is not there",
		"the report tells of less memory than the revision code does",
		"memory is missing"},
	{BadProcessor, allFamilies, InExam,
		"the processor computes the same twice and differently",
		"the report tells of wrong results",
		"processor or memory error"},
	{TooHot, allFamilies, InExam,
		"the board gets hotter than it may when it works hard",
		"the report tells the highest temperature",
		"too hot: cooling"},
	{UnderVoltage, allFamilies, InExam,
		"the voltage breaks down when the board works hard",
		"the report tells that the firmware saw it",
		"under-voltage: HAT or cable"},
	{PowerHungry, allFamilies, InExam,
		"the board, or what is plugged into it, draws far more than it should when it works hard",
		"the switch tells more watts than the model can draw",
		"it draws too much: HAT, or something plugged in"},
	{ExamHang, allFamilies, InExam,
		"the board stops when it works hard",
		"the reports stop before the last one",
		"it hung in its burn-in"},
}

// examFlaws are what the faults make of a sound board's last report.
var examFlaws = map[string]func(*report.Report){
	BadMemory:    func(r *report.Report) { r.Miswritten = 3 },
	HalfMemory:   func(r *report.Report) { r.MemoryKB /= 2 },
	BadProcessor: func(r *report.Report) { r.Miscomputed = 1 },
	TooHot:       func(r *report.Report) { r.Heat = 86_500 },
	UnderVoltage: func(r *report.Report) { r.Throttled = 0x50005 },
}

// boardNames are the families' names in the device tree.
var boardNames = map[order.Family]string{
	order.Pi3B: "Raspberry Pi 3 Model B Rev 1.2", order.Pi3BPlus: "Raspberry Pi 3 Model B Plus Rev 1.3",
	order.Pi4B: "Raspberry Pi 4 Model B Rev 1.4", order.Pi5: "Raspberry Pi 5 Model B Rev 1.0",
}

const (
	cores = 4
	// reserved is how much of the memory the firmware and the kernel keep.
	reserved = 16 // one part in so many
	// workload is how much more than when it boots a board draws when it works
	// hard, in quarters (from memory).
	workload = 5
	hungry   = 2 // so many times that
	// beatEvery and againEvery are how often the burn-in tells that it goes on, and
	// how often the last report is sent again, as the real one's /init does.
	beatEvery  = 5 * sec
	againEvery = 10 * sec
	retryEvery = 3 * sec
	// reportTimeout bounds one report, in true time.
	reportTimeout = 10 * time.Second
)

var errNoInit = errors.New("kernel: no initramfs, and no root to mount")

// examine does what the examination's /init does with its order, but for the
// work: it lives on until the power goes.
func (b *boot) examine(o report.Order, initramfs bool) error {
	if !initramfs {
		return errNoInit
	}
	if err := b.cfg.NIC.Configure(Addressing{Prefix: o.Address}); err != nil {
		return err
	}
	b.setState(StageExam, "burn-in")
	bootMW, _ := Draw(b.cfg.Board.Family)
	draw := bootMW * workload / 4
	if b.fault == PowerHungry {
		draw *= hungry
	}
	b.cfg.Port.SetDraw(b.vary(draw))
	said := b.sound()
	for left := o.Burn; left > 0; {
		_ = b.tell(o, said) // it is only told that it goes on
		beat := min(left, b.packetWait(beatEvery))
		if err := b.sleep(beat); err != nil {
			return err
		}
		if left -= beat; b.fault == ExamHang {
			return fmt.Errorf("%w in its burn-in", errHung)
		}
	}
	said.Done, said.Burned, said.Computed, said.CheckedMB = true, o.Burn, cores*int(o.Burn/time.Second)*8, said.MemoryKB/2048
	if flaw := examFlaws[b.fault]; flaw != nil {
		flaw(&said)
	}
	for {
		pause := againEvery
		if err := b.tell(o, said); err != nil {
			if b.ctx.Err() != nil {
				return b.ctx.Err()
			}
			b.setState(StageExam, err.Error())
			pause = retryEvery
		} else {
			b.setState(StageExam, "reported")
		}
		if err := b.sleep(b.packetWait(pause)); err != nil {
			return err
		}
	}
}

// sound is what a board says of itself that nothing is wrong with.
func (b *boot) sound() report.Report {
	board := b.cfg.Board
	memory := board.MemoryMB() * 1024
	return report.Report{
		Board: boardNames[board.Family], Revision: board.Revision, Serial: 0x10000000<<32 | uint64(board.Serial), MAC: board.mac6(),
		MemoryKB: memory - memory/reserved, Cores: cores, Heat: 48_000 + b.rng.IntN(20_000), HasHeat: true, HasThrottled: true,
	}
}

// dialReport connects to where reports go. The connection ends with the power.
func (b *boot) dialReport(to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(b.ctx, reportTimeout)
	defer cancel()
	conn, err := b.cfg.NIC.DialTCP(ctx, to)
	if err != nil {
		return nil, err
	}
	b.cutOff(conn)
	return conn, conn.SetDeadline(time.Now().Add(reportTimeout))
}

// tell sends one report.
func (b *boot) tell(o report.Order, r report.Report) error {
	conn, err := b.dialReport(o.Server)
	if err != nil {
		return err
	}
	defer conn.Close()
	body := r.Text()
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", report.Path(o.Token), len(body), body); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		why, _ := io.ReadAll(io.LimitReader(res.Body, maxFile))
		return fmt.Errorf("report: %s: %s", res.Status, strings.TrimSpace(string(why)))
	}
	return nil
}
