package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"

	"picloud/engine"
)

// MaxPage is the most rows that one read returns, whatever its limit says. A
// caller asks for the next page with the last number that it got.
const MaxPage = 10_000

// Load reads what the last process left: see engine.State. Lists are ordered by
// name or number, and all of it is of one moment.
func (s *Store) Load(ctx context.Context) (engine.State, error) {
	var st engine.State
	tx, err := s.read.BeginTx(ctx, nil) // one snapshot for all the queries
	if err == nil {
		defer tx.Rollback() //nolint:errcheck // it only read
		err = load(ctx, tx, &st)
	}
	if err != nil {
		return engine.State{}, s.fault("load", err)
	}
	return st, nil
}

func load(ctx context.Context, tx *sql.Tx, st *engine.State) error {
	parts := []func() error{
		func() error { return list(ctx, tx, &st.Pis, pis, "ORDER BY name") },
		func() error { return loadServers(ctx, tx, st) },
		func() error { return list(ctx, tx, &st.Images, images, "ORDER BY name") },
		func() error { return loadVolumes(ctx, tx, st) },
		func() error { return listJobs(ctx, tx, &st.Jobs, openJobs) },
		func() error { return list(ctx, tx, &st.Open, audit, "WHERE ended IS NULL ORDER BY id") },
		func() error { return loadOperators(ctx, tx, st) },
		func() error { return loadOrders(ctx, tx, st) },
		func() error { return lastIDs(ctx, tx, &st.LastID) },
	}
	for _, part := range parts {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

func loadServers(ctx context.Context, tx *sql.Tx, st *engine.State) error {
	if err := list(ctx, tx, &st.Servers, servers, presentServers); err != nil {
		return err
	}
	var keys []serverKey
	if err := list(ctx, tx, &keys, serverKeys, "ORDER BY server, seq"); err != nil {
		return err
	}
	at := map[string]*engine.Server{}
	for i := range st.Servers {
		at[st.Servers[i].Name] = &st.Servers[i]
	}
	for _, k := range keys {
		if s := at[k.server]; s != nil { // one that is gone keeps none, but the file may have been edited
			s.Keys = append(s.Keys, k.line)
		}
	}
	return nil
}

func loadOperators(ctx context.Context, tx *sql.Tx, st *engine.State) error {
	if err := list(ctx, tx, &st.Operators, operators, "ORDER BY name"); err != nil {
		return err
	}
	var keys []serverKey
	if err := list(ctx, tx, &keys, operatorKeys, "ORDER BY operator, seq"); err != nil {
		return err
	}
	at := map[string]*engine.Operator{}
	for i := range st.Operators {
		at[st.Operators[i].Name] = &st.Operators[i]
	}
	for _, k := range keys {
		o := at[k.server] // a foreign key: it is there
		o.Keys = append(o.Keys, engine.OperatorKey{Line: k.line})
	}
	return nil
}

func loadVolumes(ctx context.Context, tx *sql.Tx, st *engine.State) error {
	if err := list(ctx, tx, &st.Volumes, volumes, presentVolumes); err != nil {
		return err
	}
	var keys []hostKey
	if err := list(ctx, tx, &keys, hostKeys, "ORDER BY volume, system, seq"); err != nil {
		return err
	}
	at := map[string]*engine.Volume{}
	for i := range st.Volumes {
		at[st.Volumes[i].Name] = &st.Volumes[i]
	}
	for _, k := range keys {
		switch v := at[k.volume]; {
		case v == nil: // a removed volume keeps none, but the file may have been edited
		case k.system == ofRescue:
			v.RescueKeys = append(v.RescueKeys, k.HostKey)
		default:
			v.HostKeys = append(v.HostKeys, k.HostKey)
		}
	}
	return nil
}

// lastIDs needs no counter beside the rows, but in a database that was restored
// (id_floors): pruning takes old boots, lines and notices, and the newest of
// each is always kept.
func lastIDs(ctx context.Context, tx *sql.Tx, last *engine.LastIDs) error {
	const newest = "max(ifnull((SELECT max(id) FROM %[1]s), 0), ifnull((SELECT id FROM id_floors WHERE of = '%[1]s'), 0))"
	for of, to := range numbers(last) {
		if err := tx.QueryRowContext(ctx, "SELECT "+fmt.Sprintf(newest, of)).Scan(to); err != nil {
			return err
		}
	}
	return tx.QueryRowContext(ctx, "SELECT ifnull((SELECT max(id) FROM log), 0)").Scan(&last.Log)
}

// numbers are those that are never given again, by their tables: what was named
// by them may be outside of the database. Those of log lines are not.
func numbers(last *engine.LastIDs) map[string]*int64 {
	return map[string]*int64{
		"jobs": &last.Job, "boots": &last.Boot, "audit": &last.Audit, "ledger": &last.Ledger, "notices": &last.Notice,
	}
}

// Ports returns the last change of every port, by switch and port: what is
// known until a switch answers again. Reading.Port is Port.Port.
func (s *Store) Ports(ctx context.Context) ([]engine.PortRow, error) {
	var rows []engine.PortRow
	if err := list(ctx, s.read, &rows, ports, "ORDER BY switch, port"); err != nil {
		return nil, s.fault("read ports", err)
	}
	for i := range rows {
		rows[i].Reading.Port = rows[i].Port.Port
	}
	return rows, nil
}

// Boots returns a Pi's boots, newest first, with their events: limit of them,
// at most MaxPage. It returns engine.ErrNotFound for a Pi that is not stored
// and has no boots.
func (s *Store) Boots(ctx context.Context, pi engine.PiName, limit int) ([]engine.Boot, error) {
	var found []engine.Boot
	err := listBoots(ctx, s.read, &found, string(pi), page(limit))
	if err == nil && len(found) == 0 {
		err = known(ctx, s.read, pi)
	}
	if err != nil {
		return nil, s.fault(fmt.Sprintf("read boots of %q", pi), err)
	}
	return found, nil
}

func known(ctx context.Context, q queryer, pi engine.PiName) error {
	var rows []engine.Pi
	err := list(ctx, q, &rows, pis, "WHERE name = ?", string(pi))
	if err == nil && len(rows) == 0 {
		return engine.ErrNotFound
	}
	return err
}

// Log returns lines older than before (0 = the newest), newest first: limit of
// them, at most MaxPage.
func (s *Store) Log(ctx context.Context, before int64, limit int) ([]engine.LogLine, error) {
	return pageOf(ctx, s, logLines, before, limit)
}

// Audit returns rows older than before (0 = the newest), newest first: limit of
// them, at most MaxPage.
func (s *Store) Audit(ctx context.Context, before int64, limit int) ([]engine.AuditRow, error) {
	return pageOf(ctx, s, audit, before, limit)
}

// Jobs returns jobs with their steps, older than before (0 = the newest),
// newest first: limit of them, at most MaxPage.
func (s *Store) Jobs(ctx context.Context, before int64, limit int) ([]engine.Job, error) {
	var found []engine.Job
	if err := listJobs(ctx, s.read, &found, pageOfJobs, from(before), page(limit)); err != nil {
		return nil, s.fault("read jobs", err)
	}
	return found, nil
}

// pageOf reads by number and not by offset: rows that are written meanwhile
// move no page.
func pageOf[R any](ctx context.Context, s *Store, t table[R], before int64, limit int) ([]R, error) {
	var rows []R
	err := list(ctx, s.read, &rows, t, "WHERE id < ? ORDER BY id DESC LIMIT ?", from(before), page(limit))
	if err != nil {
		return nil, s.fault("read "+t.name, err)
	}
	return rows, nil
}

// from is where a page begins: 0 = after the newest.
func from(before int64) int64 {
	if before == 0 {
		return math.MaxInt64
	}
	return before
}

// page bounds a limit; SQLite takes a negative one for no limit.
func page(limit int) int { return min(max(limit, 0), MaxPage) }

// fault names the operation and the condition of an error of a read.
func (s *Store) fault(what string, err error) error {
	if s.closed.Load() {
		err = ErrClosed
	}
	return fmt.Errorf("store: %s: %w", what, explain(err))
}
