package tui

import (
	"fmt"
	"strconv"
	"time"

	"picloud/engine"
)

// rescue tells that a Pi boots the small system in memory, and by what keys it
// shows itself.
func (g *page) rescue(p *engine.PiView) {
	if p.Exam {
		g.fact("exam", busy, "under way: it runs a small system in memory that reports, and nobody can log in")
		return
	}
	if !p.Rescue {
		return
	}
	g.fact("rescue", warn, "on: it boots a small system in memory; :unrescue ends it")
	for _, k := range p.RescueKeys {
		g.fact("its key", plain, keyFact(k))
	}
}

func keyFact(k engine.HostKey) string { return k.Type + " " + k.Fingerprint }

// storage tells of a Pi's roots, the present and the former, and what of them is
// exported to it.
func (g *page) storage(p *engine.PiView) {
	m := g.m
	age := fresh
	if g.brief {
		age = lateUse // volumes are looked at seldom: an age here would never rest
	}
	g.fact("root", useStyle(p), m.rootFact(p, age))
	switch {
	case p.ExportErr != "":
		g.fact("export", bad, "none: "+p.ExportErr)
	case g.brief:
	case p.Export != "":
		g.fact("export", plain, p.Export)
	case p.Root != "":
		g.fact("export", plain, "nothing is exported to it")
	}
	if p.Former != "" {
		g.fact("undo", plain, m.formerFact(p, age))
	}
	if g.brief {
		return
	}
	for _, k := range p.RootVolume.HostKeys {
		g.fact("ssh key", plain, keyFact(k))
	}
	if !m.shown.SpaceAt.IsZero() {
		g.fact("disk", diskStyle(&m.shown.Space), m.diskFact())
	}
}

func (m *Model) rootFact(p *engine.PiView, fresh time.Duration) string {
	if p.Root == "" {
		return "none: it gets no boot files"
	}
	s := p.Root
	if p.Image != "" {
		s += " from " + p.Image
	}
	v := &p.RootVolume
	if !v.Created.IsZero() {
		s += ", made " + m.ago(v.Created) + " ago"
	}
	return s + m.useFact(v, fresh)
}

// useFact tells what is used of a volume, and how old that news is if it is not
// fresh.
func (m *Model) useFact(v *engine.VolumeView, fresh time.Duration) string {
	switch {
	case v.UseAt.IsZero() && v.Use.Size > 0:
		return "; " + bytesIn(v.Use.Size, 1) + ", use not known yet"
	case v.UseAt.IsZero():
		return ""
	case v.Use.Size > 0:
		return fmt.Sprintf("; %s used, %d%%%s", roomOf(v.Use), percent(v.Use.Used, v.Use.Size), m.olderThan(fresh, v.UseAt))
	}
	return "; " + roomOf(v.Use) + " used, no limit" + m.olderThan(fresh, v.UseAt)
}

// formerFact tells what undo brings back, and until when.
func (m *Model) formerFact(p *engine.PiView, fresh time.Duration) string {
	s, v := p.Former, &p.FormerVolume
	if !v.Created.IsZero() {
		s += ", made " + m.ago(v.Created) + " ago"
	}
	if !v.Changed.IsZero() {
		s += ", replaced " + m.ago(v.Changed) + " ago"
	}
	s += m.useFact(v, fresh)
	switch {
	case p.FormerUntil.IsZero():
		s += "; kept until the next reimage"
	case p.FormerUntil.Before(m.stamp()):
		s += "; its time is over, it goes"
	default:
		s += "; kept until " + m.when(p.FormerUntil)
	}
	return s
}

// when writes a time to come: its day of the week within the next six days.
func (m *Model) when(t time.Time) string {
	t = t.In(m.now.Location())
	if t.Sub(m.stamp()) < 6*24*time.Hour {
		return t.Format("Mon 15:04")
	}
	return t.Format("2006-01-02 15:04")
}

// diskStyle is for a disk that takes no new root.
func diskStyle(s *engine.SpaceSeen) style {
	if s.Pool.NearlyFull || s.Err != "" {
		return warn
	}
	return plain
}

// diskFact tells of the room that all roots share.
func (m *Model) diskFact() string {
	sp := &m.shown.Space
	s := orUnknown(sp.Driver)
	if sp.Pool.Size > 0 {
		s += fmt.Sprintf(", %s used, %d%%", roomOf(engine.VolumeUse{Size: sp.Pool.Size, Used: sp.Pool.Used}), percent(sp.Pool.Used, sp.Pool.Size))
	}
	if sp.Pool.Metadata > 0 {
		s += fmt.Sprintf(", metadata %d%%", part(sp.Pool.Metadata))
	}
	if sp.Pool.NearlyFull {
		s += "; nearly full: no new root is made"
	}
	if sp.Copies {
		s += "; a new root copies every file"
	}
	if sp.Err != "" {
		s += "; cannot be told: " + sp.Err
	}
	return s + m.old(m.shown.SpaceAt)
}

// part writes a part of 1 as per cent.
func part(f float64) int { return int(min(max(f, 0), 9.99) * 100) }

// lateDisk is how old the news of the disk may be before the first line marks
// it.
const lateDisk = 2 * time.Minute

// drawDisk draws how full the disk is; of an LVM pool the fuller of its two
// parts. "!" and a warning: it is nearly full; "?": it is not known, or was told
// long ago.
func (m *Model) drawDisk(c *canvas) {
	b := m.appendDisk(c.scratch[:0])
	c.scratch = b
	if len(b) == 0 || c.x+2+len(b)+m.clockWidth() > c.limit {
		return
	}
	c.put(plain, "  ")
	c.set(diskStyle(&m.shown.Space))
	c.bytesCell(b, len(b), false)
	c.set(plain)
}

func (m *Model) appendDisk(b []byte) []byte {
	sp, at := &m.shown.Space, m.shown.SpaceAt
	switch {
	case at.IsZero() && sp.Err == "":
		return b
	case at.IsZero() || sp.Pool.Size <= 0 && sp.Pool.Metadata <= 0:
		if sp.Err == "" {
			return b
		}
		return append(b, "disk ?"...)
	}
	data, meta := percent(sp.Pool.Used, sp.Pool.Size), part(sp.Pool.Metadata)
	b = append(b, "disk "...)
	if meta > data {
		b = append(b, "meta "...)
	}
	b = append(strconv.AppendInt(b, int64(max(data, meta)), 10), '%')
	switch {
	case sp.Pool.NearlyFull:
		return append(b, '!')
	case sp.Err != "" || m.stamp().Sub(at) > lateDisk:
		return append(b, '?')
	}
	return b
}
