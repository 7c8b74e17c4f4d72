package order

import (
	"slices"
	"testing"
)

func TestSequenceStartsAsCaptured(t *testing.T) {
	tests := []struct {
		family  Family
		want    []string // the first paths on the wire
		options Options  // of the third request
	}{
		{Pi3B, []string{"bootcode.bin", "bootsig.bin", "b66c4c16/start.elf"}, Options{TSize: true}},
		{Pi3BPlus, []string{"bootcode.bin", "bootsig.bin", "b66c4c16/start.elf"}, Options{TSize: true}},
		{Pi4B, []string{"b66c4c16/start4.elf", "b66c4c16/config.txt", "b66c4c16/autoboot.txt"}, Options{TSize: true, BlkSize: 1024}},
		{Pi5, []string{"b66c4c16/start4.elf", "b66c4c16/start.elf", "b66c4c16/autoboot.txt"}, Options{TSize: true, BlkSize: 1468}},
	}
	for _, tt := range tests {
		t.Run(string(tt.family), func(t *testing.T) {
			s := Sequence(tt.family)
			for i, want := range tt.want {
				if got := s[i].Path("b66c4c16/"); got != want {
					t.Errorf("request %d is %q, want %q", i, got, want)
				}
			}
			if s[2].Options != tt.options {
				t.Errorf("options %+v, want %+v", s[2].Options, tt.options)
			}
		})
	}
}

// The mask ROM sends no options at all; everything later does.
func TestOptionsPerStage(t *testing.T) {
	for _, f := range Families() {
		for i, r := range Sequence(f) {
			if (r.Stage == ROM) != (r.Options == Options{}) {
				t.Errorf("%s request %d (%s, stage %s): options %+v", f, i, r.Name, r.Stage, r.Options)
			}
			if (r.Stage == ROM) == r.Prefixed {
				t.Errorf("%s request %d (%s): stage %s, prefixed %t", f, i, r.Name, r.Stage, r.Prefixed)
			}
			if r.Stage == ROM && !f.UsesBootcode() {
				t.Errorf("%s has no mask ROM that uses TFTP", f)
			}
		}
	}
}

// Every file that is needed is asked for by a real transfer, not just a probe.
func TestNeedIsAskedFor(t *testing.T) {
	for _, f := range Families() {
		for _, group := range Need(f) {
			for _, name := range group {
				if !slices.ContainsFunc(Sequence(f), func(r Request) bool {
					return r.Name == name && !r.Probe
				}) {
					t.Errorf("%s never transfers %s", f, name)
				}
			}
		}
		if !IsKernel(f, "kernel8.img") || IsKernel(f, "config.txt") {
			t.Errorf("%s: IsKernel is wrong", f)
		}
	}
}

func TestUnknownFamily(t *testing.T) {
	if Sequence("1B") != nil || Need("1B") != nil || IsKernel("1B", "kernel8.img") {
		t.Error("a family without network boot has a sequence")
	}
}
