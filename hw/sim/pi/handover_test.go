package pi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"picloud/netboot/bootfs/order"
)

// What Boot gets is what was served, for each family.
func TestBootGetsWhatWasServed(t *testing.T) {
	initramfs := map[order.Family]string{
		order.Pi3B: "initramfs8", order.Pi3BPlus: "initramfs8", order.Pi4B: "initramfs8", order.Pi5: "initramfs_2712",
	}
	for _, f := range order.Families() {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.delay = 25 * time.Millisecond
			b := testBoard(f)
			dir := b.SerialText() + "/"
			s.boot(f, dir)
			groups := order.Need(f)
			kernel := dir + groups[len(groups)-1][0]
			tree := dir + groups[len(groups)-2][0]
			s.files[dir+"overlays/overlay_map.dtb"] = []byte("no board's device tree")
			s.files[dir+"config.txt"] = []byte("auto_initramfs=1\n")
			ramdisk := bytes.Repeat([]byte("ramdisk"), 999)
			s.files[dir+initramfs[f]] = ramdisk
			cfg := s.config(b, "")
			got := make(chan Loaded, 1)
			cfg.Boot = func(ctx context.Context, l Loaded) error {
				got <- l
				<-ctx.Done()
				return ctx.Err()
			}
			p := start(t, cfg)
			l := <-got
			if !bytes.Equal(l.Kernel, s.files[kernel]) || !bytes.Equal(l.DeviceTree, s.files[tree]) || !bytes.Equal(l.Initramfs, ramdisk) {
				t.Errorf("kernel of %d octets, device tree of %d, initramfs of %d", len(l.Kernel), len(l.DeviceTree), len(l.Initramfs))
			}
			if l.Cmdline+"\n" != s.cmdline() {
				t.Errorf("command line %q, want %q", l.Cmdline, s.cmdline())
			}
			if l.Board.Serial != b.Serial {
				t.Errorf("board %+v", l.Board)
			}
			if st := p.State(); st.Stage != StageKernel {
				t.Errorf("state %+v", st)
			}
			p.SetPower(false)
			await(t, p, StageOff)
		})
	}
}

// A kernel and an initramfs by names of their own, as Debian has them, are fetched
// in place of the default ones, and the initramfs put together from its parts.
func TestBootGetsWhatIsNamed(t *testing.T) {
	for _, f := range order.Families() {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.delay = 25 * time.Millisecond
			b := testBoard(f)
			dir := b.SerialText() + "/"
			s.boot(f, dir)
			for name, content := range map[string]string{
				"config.txt":     "auto_initramfs=1\nkernel=vmlinuz-6.1\ninitramfs initrd.img-6.1,more,missing followkernel\n",
				"vmlinuz-6.1":    "kernel",
				"initrd.img-6.1": "first ",
				"more":           "second",
				"initramfs8":     "not wanted", "initramfs_2712": "not wanted",
			} {
				s.files[dir+name] = []byte(content)
			}
			cfg := s.config(b, "")
			got := make(chan Loaded, 1)
			cfg.Boot = func(ctx context.Context, l Loaded) error {
				got <- l
				<-ctx.Done()
				return ctx.Err()
			}
			p := start(t, cfg)
			groups := order.Need(f)
			tree := s.files[dir+groups[len(groups)-2][0]]
			if l := <-got; string(l.Kernel) != "kernel" || string(l.Initramfs) != "first second" || !bytes.Equal(l.DeviceTree, tree) {
				t.Errorf("kernel %q, initramfs %q, device tree %q", l.Kernel, l.Initramfs, l.DeviceTree)
			}
			p.SetPower(false)
			await(t, p, StageOff)
		})
	}
}

// A kernel that restarts the board gets the boot ROM's whole way again, and one
// that ends leaves the Pi dead until a power cycle.
func TestBootEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  error
		want State
	}{
		{"halts", nil, State{StageDead, errHalted.Error()}},
		{"fails", errors.New("no such processor"), State{StageDead, "no such processor"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			b := testBoard(order.Pi4B)
			s.boot(order.Pi4B, b.SerialText()+"/")
			cfg := s.config(b, "")
			boots := 0
			cfg.Boot = func(context.Context, Loaded) error {
				if boots++; boots < 3 {
					return fmt.Errorf("guest: %w", ErrReset)
				}
				return tt.end
			}
			p := start(t, cfg)
			if got := await(t, p, StageDead); got != tt.want {
				t.Errorf("state %+v, want %+v", got, tt.want)
			}
			if c := p.Counters(); c.Resets != 2 || c.Boots != 1 {
				t.Errorf("counters %+v", c)
			}
			p.SetPower(false)
			await(t, p, StageOff)
		})
	}
}

// A server that sends without end fills no memory, and a file that is fetched
// again counts once.
func TestKeptIsBounded(t *testing.T) {
	k := kept{files: make(map[string][]byte)}
	block := make([]byte, maxLoaded/4)
	for range 10 {
		if _, err := k.keep("kernel8.img").Write(block); err != nil {
			t.Fatal(err)
		}
	}
	w := k.keep("initramfs8")
	var err error
	for range 4 {
		if _, e := w.Write(block); e != nil {
			err = e
		}
	}
	if !errors.Is(err, errMemory) || !errors.Is(err, errStopped) {
		t.Errorf("%v, want %v", err, errMemory)
	}
	if n := len(k.files["kernel8.img"]) + len(k.files["initramfs8"]); n > maxLoaded {
		t.Errorf("%d octets kept", n)
	}
}
