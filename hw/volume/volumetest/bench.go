package volumetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// RootSize is how much [FillRoot] writes, in bytes.
const RootSize = 2 << 30

// BenchmarkReimage measures what a driver has to do with a 2 GB root: the
// former one is kept as a snapshot, a new one is cloned, and published in its
// place by publish, unless that is nil. It reports each part, in milliseconds.
func BenchmarkReimage(b *testing.B, f Fixture, publish func(ctx context.Context, dir string) error) {
	ctx := b.Context()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	if publish == nil {
		publish = func(context.Context, string) error { return nil }
	}
	must(f.Import(ctx, "demo", 2*RootSize, func(_ context.Context, dir string) error { return FillRoot(dir) }))
	must(f.Clone(ctx, "demo", "v", nil))
	var parts [3]time.Duration
	timed := func(part int, do func() error) {
		begin := time.Now()
		must(do())
		parts[part] += time.Since(begin)
	}
	for i := 0; b.Loop(); i++ {
		snapshot, fresh := fmt.Sprint("before-", i), fmt.Sprint("v-", i)
		timed(0, func() error { return f.Snapshot(ctx, "v", snapshot) })
		timed(1, func() error { return f.Clone(ctx, "demo", fresh, nil) })
		timed(2, func() error {
			dir, err := f.Path(fresh)
			if err != nil {
				return err
			}
			return publish(ctx, dir)
		})
		b.StopTimer()
		old, err := f.Path("v")
		must(errors.Join(err, publish(ctx, old), f.Remove(ctx, fresh), f.RemoveSnapshot(ctx, "v", snapshot)))
		b.StartTimer()
	}
	b.ReportMetric(0, "ns/op") // the parts say it
	for i, name := range []string{"snapshot-ms", "clone-ms", "export-ms"} {
		b.ReportMetric(float64(parts[i].Milliseconds())/float64(b.N), name)
	}
}

// FillRoot writes what a small Debian has: 20,000 files in 2 GB.
func FillRoot(dir string) error {
	const files, folders = 20_000, 200
	content := bytes.Repeat([]byte("picloud\n"), RootSize/files/8)
	for i := range files {
		at := filepath.Join(dir, "usr", fmt.Sprint("d", i%folders))
		if i < folders {
			if err := os.MkdirAll(at, 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(at, fmt.Sprint("f", i)), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
