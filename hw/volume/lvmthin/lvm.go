package lvmthin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"picloud/hw/volume"
)

// maxOutput bounds what is kept of a command's output: a report of 20,000
// logical volumes fits.
const maxOutput = 16 << 20

// command runs a program without a shell and returns what it printed. When ctx
// ends it is asked to stop (SIGTERM), which LVM does not heed in the middle of
// a change of its metadata: that ends first.
func command(ctx context.Context, name string, args ...string) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LVM_SUPPRESS_FD_WARNINGS=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	out, complaints := limited{max: maxOutput}, limited{max: 2048}
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	switch {
	case err == nil && out.cut:
		return nil, fmt.Errorf("%s: more than %d bytes of output", name, maxOutput)
	case err == nil:
		return out.Bytes(), nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%w (apt install lvm2 thin-provisioning-tools e2fsprogs)", err)
	}
	return nil, fmt.Errorf("%s: %w: %s", name, err, strings.Join(strings.Fields(complaints.String()), " "))
}

// limited is a buffer that drops what is beyond its limit.
type limited struct {
	bytes.Buffer
	max int
	cut bool
}

func (l *limited) Write(p []byte) (int, error) {
	keep := min(len(p), l.max-l.Len())
	l.cut = l.cut || keep < len(p)
	l.Buffer.Write(p[:keep])
	return len(p), nil
}

// kind is what a logical volume of ours is for.
type kind string

const (
	kindImage    kind = "image"
	kindVolume   kind = "volume"
	kindSnapshot kind = "snapshot"
)

// Tags that say what a logical volume is. Its own name says nothing: LVM
// forbids some names that we allow, and one commit of LVM's metadata changes
// the tags of one logical volume, but not the names of two.
const (
	tagOurs  = "picloud"
	tagKind  = "picloud.kind="
	tagName  = "picloud.name="
	tagOf    = "picloud.of="   // a snapshot's volume
	tagTurn  = "picloud.turn=" // of the ready ones of one volume, the highest counts
	tagReady = "picloud.ready" // it is whole
)

// lv is a logical volume of ours.
type lv struct {
	id      string // its name in LVM
	kind    kind
	name    string
	of      string
	turn    int
	ready   bool
	active  bool
	size    int64   // bytes
	used    float64 // share of size that has blocks in the pool, 0 to 1
	created time.Time
}

func (v *lv) tags() []string {
	tags := []string{tagOurs, tagKind + string(v.kind), tagName + v.name, tagTurn + strconv.Itoa(v.turn)}
	if v.of != "" {
		tags = append(tags, tagOf+v.of)
	}
	if v.ready {
		tags = append(tags, tagReady)
	}
	var args []string
	for _, t := range tags {
		args = append(args, "--addtag", t)
	}
	return args
}

// report is what lvs --reportformat json prints.
type report struct {
	Report []struct {
		LV []struct {
			Name     string `json:"lv_name"`
			Tags     string `json:"lv_tags"`
			Size     string `json:"lv_size"`
			Time     string `json:"lv_time"`
			Data     string `json:"data_percent"`
			Metadata string `json:"metadata_percent"`
			Active   string `json:"lv_active"`
			Segment  string `json:"segtype"`
			Extent   string `json:"vg_extent_size"`
		} `json:"lv"`
	} `json:"report"`
}

// lvs asks LVM for all that there is to know of a pool and what is in it: one
// call, because each takes a tenth of a second.
func lvs(ctx context.Context, group, pool string) (report, error) {
	out, err := command(ctx, "lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "--config", `report/time_format="%s"`,
		"-o", "lv_name,lv_tags,lv_size,lv_time,data_percent,metadata_percent,lv_active,segtype,vg_extent_size",
		"--select", "pool_lv="+pool+" || lv_name="+pool, group)
	if err != nil {
		return report{}, err
	}
	return parseReport(out)
}

func parseReport(out []byte) (report, error) {
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		return report{}, fmt.Errorf("lvs: read report: %w", err)
	}
	return r, nil
}

// stock is what a pool holds, at one moment.
type stock struct {
	pool   volume.Pool
	extent int64 // bytes; every size is a multiple
	all    []lv  // that are ours
}

var errNoPool = fmt.Errorf("%w: thin pool", volume.ErrNotFound)

func (r report) stock(pool string, nearlyFull float64) (stock, error) {
	for _, part := range r.Report {
		for _, e := range part.LV {
			if e.Name != pool || e.Segment != "thin-pool" {
				continue
			}
			size, err := parseSize(e.Size)
			if err != nil {
				return stock{}, fmt.Errorf("lvs: size of the pool: %w", err)
			}
			extent, err := parseSize(e.Extent)
			if err != nil {
				return stock{}, fmt.Errorf("lvs: extent size: %w", err)
			}
			p := volume.Pool{Size: size, Used: int64(percent(e.Data) * float64(size)), Metadata: percent(e.Metadata)}
			p.NearlyFull = max(percent(e.Data), p.Metadata) >= nearlyFull
			return stock{p, extent, r.ours()}, nil
		}
	}
	return stock{}, errNoPool
}

// parseSize reads a number of bytes, which is positive.
func parseSize(s string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err == nil && n <= 0 {
		err = strconv.ErrRange
	}
	return n, err
}

// ours picks out of a report the logical volumes whose tags say what they are.
func (r report) ours() []lv {
	var all []lv
	for _, part := range r.Report {
		for _, e := range part.LV {
			v := lv{id: e.Name, active: e.Active == "active", used: percent(e.Data)}
			v.size, _ = strconv.ParseInt(e.Size, 10, 64)
			if sec, err := strconv.ParseInt(e.Time, 10, 64); err == nil {
				v.created = time.Unix(sec, 0)
			}
			if v.readTags(e.Tags) {
				all = append(all, v)
			}
		}
	}
	return all
}

func (v *lv) readTags(tags string) bool {
	ours := false
	for tag := range strings.SplitSeq(tags, ",") {
		ours = ours || tag == tagOurs
		v.ready = v.ready || tag == tagReady
		if s, ok := strings.CutPrefix(tag, tagKind); ok {
			v.kind = kind(s)
		}
		if s, ok := strings.CutPrefix(tag, tagName); ok {
			v.name = s
		}
		if s, ok := strings.CutPrefix(tag, tagOf); ok {
			v.of = s
		}
		if s, ok := strings.CutPrefix(tag, tagTurn); ok {
			v.turn, _ = strconv.Atoi(s)
		}
	}
	known := v.kind == kindImage || v.kind == kindVolume || v.kind == kindSnapshot && volume.CheckName(v.of) == nil
	return ours && known && volume.CheckName(v.name) == nil
}

// percent reads "12.34" as 0.1234, and nothing as 0.
func percent(s string) float64 {
	p, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(p) || p < 0 {
		return 0
	}
	return min(p/100, 1)
}
