package store

import (
	"context"
	"fmt"
	"slices"

	"picloud/engine"
)

// Statements of Save beside the tables' own.
const (
	dropPi       = "DELETE FROM pis WHERE name = ?"
	dropKeys     = "DELETE FROM server_keys WHERE server = ?"
	dropOperator = "DELETE FROM operators WHERE name = ?"
	dropOpKeys   = "DELETE FROM operator_keys WHERE operator = ?"
	dropHostKeys = "DELETE FROM host_keys WHERE volume = ?"
	dropSteps    = "DELETE FROM steps WHERE job = ? AND seq >= ?"
	pruneBoots   = "DELETE FROM boots WHERE pi = ?1 AND id <= " +
		"(SELECT id FROM boots WHERE pi = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)"
	pruneLog     = "DELETE FROM log WHERE id <= (SELECT max(id) FROM log) - ?"
	pruneNotices = "DELETE FROM notices WHERE id <= (SELECT max(id) FROM notices) - ? AND NOT EXISTS " +
		"(SELECT 1 FROM deliveries WHERE notice = notices.id AND next IS NOT NULL)"
	leaveServer = "UPDATE pis SET server = NULL WHERE name = ?1 AND server IS NOT ?2"
	leaveNumber = "UPDATE servers SET number = 0 WHERE name = ?1 AND number <> 0 AND (number, address, ssh_port) <> (?2, ?3, ?4)"
	dropWebhook = "DELETE FROM webhooks WHERE id = ?"
	forgetOnces = "DELETE FROM onces WHERE time < ?"
)

// statements lists all that Save runs, to be prepared once.
func statements() []string {
	return []string{
		switches.upsert, pis.upsert, dropPi, servers.upsert, dropKeys, serverKeys.insert,
		operators.upsert, dropOperator, dropOpKeys, operatorKeys.insert,
		images.upsert, volumes.upsert, dropHostKeys, hostKeys.insert, jobs.upsert, steps.upsert, dropSteps,
		boots.upsert, bootEvents.insert, audit.upsert, logLines.insert, ports.upsert,
		accounts.upsert, apiKeys.upsert, webhooks.upsert, dropWebhook, onces.upsert, forgetOnces,
		ledger.insert, notices.insert, deliveries.insert, saveDelivery,
		leaveServer, leaveNumber, pruneBoots, pruneLog, pruneNotices,
	}
}

// Save makes the changes lasting in one transaction, in the order of the fields
// of Changes. After an error nothing of them is stored. ctx can end it until
// the commit begins.
//
// Audit rows are inserted open, or closed at once, and an open row may be
// closed once. It is an error to give the number of an event or a log line
// again, to change a closed audit row, or to change more of an open one than
// its end. Boots beyond Options.KeepBoots of their Pi are removed, and log
// lines whose number is Options.KeepLog below the newest or more.
//
// A server is on one Pi at most, and a number, address and port of the pool is
// one server's; within one Save they may change hands in any order. Rows of the
// ledger and notices are never changed, and the ledger says of each server that
// it begins, may change, and ends. Notices beyond Options.KeepNotices are
// removed, but not before they were sent.
//
// Errors: ErrFull, ErrInUse, ErrCorrupt, ErrClosed, ctx's cause; others name the
// row.
func (s *Store) Save(ctx context.Context, c engine.Changes) error {
	if err := s.save(ctx, &c); err != nil {
		return fmt.Errorf("store: save: %w", explain(err))
	}
	return nil
}

func (s *Store) save(ctx context.Context, c *engine.Changes) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer == nil {
		return ErrClosed
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if c.Empty() {
		return nil
	}
	begun := s.opts.Now()
	err := s.writer.transaction(ctx, syncFor(c), func(b *batch) { s.fill(b, c) })
	if took := s.opts.Now().Sub(begun); took >= slowSave {
		s.opts.Log.Warn("the database was slow to save", "took", took, "path", s.path)
	}
	return err
}

// syncFor chooses what a Save costs. What picloud says it did has to survive a
// power cut, so acts and the inventory wait for the disk. Observations do not:
// a rack that boots makes hundreds a second, the engine's loop stands still
// during a sync (under 1 ms on a good SSD, 20 ms on a disk or an SD card), and
// a power cut that takes the last of them has stopped what they tell of too.
func syncFor(c *engine.Changes) syncMode {
	acts := len(c.Switches) + len(c.Pis) + len(c.RemovePis) + len(c.Servers) + len(c.Images) +
		len(c.Volumes) + len(c.Jobs) + len(c.Audit) + len(c.Operators) + len(c.RemoveOperators) +
		len(c.Accounts) + len(c.APIKeys) + len(c.Webhooks) + len(c.RemoveWebhooks) + len(c.Onces) + len(c.Ledger)
	if acts > 0 {
		return syncFull
	}
	return syncNormal
}

// fill writes all rows of c, in the order of its fields.
func (s *Store) fill(b *batch, c *engine.Changes) {
	put(b, switches, switches.upsert, c.Switches)
	putPis(b, c)
	for _, name := range c.RemovePis {
		b.do("remove pi "+string(name), dropPi, string(name))
	}
	putServers(b, c.Servers)
	put(b, images, images.upsert, c.Images)
	for i := range c.Volumes {
		putVolume(b, &c.Volumes[i])
	}
	for i := range c.Jobs {
		putJob(b, &c.Jobs[i])
	}
	put(b, boots, boots.upsert, c.Boots)
	put(b, bootEvents, bootEvents.insert, c.Events)
	put(b, audit, audit.upsert, c.Audit)
	put(b, logLines, logLines.insert, c.Log)
	put(b, ports, ports.upsert, c.Ports)
	for i := range c.Operators {
		putOperator(b, &c.Operators[i])
	}
	for _, name := range c.RemoveOperators {
		b.do("remove operator "+name, dropOperator, name)
	}
	fillOrders(b, c)
	s.prune(b, c)
}

func fillOrders(b *batch, c *engine.Changes) {
	put(b, accounts, accounts.upsert, c.Accounts)
	put(b, apiKeys, apiKeys.upsert, c.APIKeys)
	put(b, webhooks, webhooks.upsert, c.Webhooks)
	for _, id := range c.RemoveWebhooks {
		b.do("remove webhook "+id, dropWebhook, id)
	}
	put(b, onces, onces.upsert, c.Onces)
	if !c.ForgetOnces.IsZero() {
		b.do("forget idempotency keys", forgetOnces, moment{&c.ForgetOnces})
	}
	put(b, ledger, ledger.insert, c.Ledger)
	put(b, notices, notices.insert, c.Notices)
	put(b, deliveries, deliveries.insert, c.Deliveries)
}

// putPis writes Pis. SQLite checks at each row that no server is on two of them:
// the rows as they will be at the end are written, and before that each Pi that
// changes its server leaves the one that it has, so that they may change hands
// in any order. A Pi that is removed by the same Changes is not written.
func putPis(b *batch, c *engine.Changes) {
	last := lastOf(c.Pis, func(p *engine.Pi) engine.PiName { return p.Name })
	if len(c.RemovePis) > 0 {
		last = slices.DeleteFunc(slices.Clone(last), func(p engine.Pi) bool { return slices.Contains(c.RemovePis, p.Name) })
	}
	for i := range last {
		b.do("server of pi "+string(last[i].Name), leaveServer, string(last[i].Name), optional{&last[i].Server})
	}
	for _, name := range c.RemovePis {
		b.do("server of pi "+string(name), leaveServer, string(name), nil)
	}
	put(b, pis, pis.upsert, last)
}

// putServers writes servers, and lets their places in the pool change hands as
// putPis does servers.
func putServers(b *batch, list []engine.Server) {
	last := lastOf(list, func(s *engine.Server) string { return s.Name })
	for i := range last {
		s := &last[i]
		b.do("number of server "+s.Name, leaveNumber, s.Name, s.Number, prefix{&s.Address}, s.SSHPort)
	}
	for i := range last {
		putServer(b, &last[i])
	}
}

// lastOf drops rows that a later one with the same key replaces.
func lastOf[R any, K comparable](rows []R, key func(*R) K) []R {
	if len(rows) < 2 {
		return rows
	}
	seen := make(map[K]bool, len(rows))
	var kept []R
	for i := len(rows) - 1; i >= 0; i-- {
		if k := key(&rows[i]); !seen[k] {
			seen[k] = true
			kept = append(kept, rows[i])
		}
	}
	slices.Reverse(kept)
	return kept
}

// put writes rows with one of the table's statements.
func put[R any](b *batch, t table[R], statement string, rows []R) {
	for i := range rows {
		putRow(b, t, statement, &rows[i])
	}
}

func putRow[R any](b *batch, t table[R], statement string, row *R) {
	args := t.row(row)
	if err := b.exec(statement, args...); err != nil {
		b.err = fmt.Errorf("%s: %w", t.title(args), err)
	}
}

// putServer writes a server and replaces its keys; one that has ended and holds no
// number any more keeps none.
func putServer(b *batch, s *engine.Server) {
	putRow(b, servers, servers.upsert, s)
	b.do("keys of server "+s.Name, dropKeys, s.Name)
	if s.State.Ended() && s.Number == 0 {
		return
	}
	for i, line := range s.Keys {
		putRow(b, serverKeys, serverKeys.insert, &serverKey{server: s.Name, seq: i, line: line})
	}
}

// putOperator writes an operator and replaces their keys.
func putOperator(b *batch, o *engine.Operator) {
	putRow(b, operators, operators.upsert, o)
	b.do("keys of operator "+o.Name, dropOpKeys, o.Name)
	for i, k := range o.Keys {
		putRow(b, operatorKeys, operatorKeys.insert, &serverKey{server: o.Name, seq: i, line: k.Line})
	}
}

// putVolume writes a volume and replaces its host keys; a removed one keeps none.
func putVolume(b *batch, v *engine.Volume) {
	putRow(b, volumes, volumes.upsert, v)
	b.do("host keys of volume "+v.Name, dropHostKeys, v.Name)
	if v.State == engine.VolumeRemoved {
		return
	}
	putHostKeys(b, v.Name, ofRoot, v.HostKeys)
	putHostKeys(b, v.Name, ofRescue, v.RescueKeys)
}

func putHostKeys(b *batch, volume, system string, keys []engine.HostKey) {
	for i, k := range keys {
		putRow(b, hostKeys, hostKeys.insert, &hostKey{volume: volume, system: system, seq: i, HostKey: k})
	}
}

// putJob writes a job and replaces its steps.
func putJob(b *batch, j *engine.Job) {
	putRow(b, jobs, jobs.upsert, j)
	for i := range j.Steps {
		putRow(b, steps, steps.upsert, &jobStep{job: j.ID, seq: i, Step: j.Steps[i]})
	}
	b.do("steps", dropSteps, j.ID, len(j.Steps))
}

// prune removes what came to be too much by this Save. Audit, ledger and jobs are
// never pruned.
func (s *Store) prune(b *batch, c *engine.Changes) {
	done := map[engine.PiName]bool{}
	for i := range c.Boots {
		if pi := c.Boots[i].Pi; !done[pi] {
			done[pi] = true
			b.do("prune boots", pruneBoots, string(pi), s.opts.KeepBoots)
		}
	}
	if len(c.Log) > 0 {
		// By number, which a key finds at once; counting lines would read them
		// all at every Save.
		b.do("prune log", pruneLog, s.opts.KeepLog)
	}
	if len(c.Notices) > 0 {
		b.do("prune notices", pruneNotices, s.opts.KeepNotices)
	}
}
