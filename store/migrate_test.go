package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// schema lists what a database is made of, without the data.
func schema(t *testing.T, path string) []string {
	t.Helper()
	db := rawOpen(t, path)
	defer db.Close()
	list, err := query(t.Context(), db, func(s *string) []any { return []any{s} },
		"SELECT type || ' ' || name || ': ' || ifnull(sql, '') FROM sqlite_schema ORDER BY type, name")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func tables(t *testing.T, path string) []string {
	t.Helper()
	db := rawOpen(t, path)
	defer db.Close()
	list, err := query(t.Context(), db, func(s *string) []any { return []any{s} },
		"SELECT name FROM sqlite_schema WHERE type = 'table'")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// testdata/schema-NNNN.sql is a database as the release with that schema wrote
// it, with rows in every table: `sqlite3 FILE .dump` after everything was saved.
// Each has to open and give all of it back for ever.
func TestReleasedSchemasMigrate(t *testing.T) {
	all, err := migrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(t.TempDir(), "picloud.db")
	openAt(t, fresh, Options{}).Close()
	want := schema(t, fresh)
	for _, m := range all {
		t.Run(fmt.Sprint(m.version), func(t *testing.T) {
			dump, err := os.ReadFile(fmt.Sprintf("testdata/schema-%04d.sql", m.version))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "picloud.db")
			rawExec(t, path, string(dump))
			old := tables(t, path)
			s := openAt(t, path, Options{})
			check(t, s, everythingAt(m.version))
			for _, name := range old {
				if rows(t, s, name) == 0 {
					t.Errorf("the copy has no rows in %s", name)
				}
			}
			s.Close()
			if diff := cmp.Diff(want, schema(t, path)); diff != "" {
				t.Errorf("migrated and new databases differ: was a released migration edited? (-new +migrated):\n%s", diff)
			}
		})
	}
}

// withNext is the program's migrations and one more.
func withNext(t *testing.T, text string) []migration {
	t.Helper()
	all, err := migrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	version := len(all) + 1
	return append(all, migration{version: version, name: fmt.Sprintf("%04d_next.sql", version), sql: text})
}

func TestNextMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "picloud.db")
	s := openAt(t, path, Options{})
	save(t, s, everything())
	s.Close()
	// Making a table anew is how SQLite changes a constraint. With foreign keys
	// on, dropping the old one would take the keys of all servers with it.
	s, err := open(t.Context(), path, Options{}.withDefaults(), withNext(t, `
		CREATE TABLE servers_new (name TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL,
			address TEXT NOT NULL, gateway TEXT NOT NULL, disk INTEGER NOT NULL, account TEXT, state TEXT NOT NULL,
			wish_model INTEGER NOT NULL, wish_memory INTEGER NOT NULL, wish_cpu INTEGER NOT NULL, wish_nic INTEGER NOT NULL,
			image TEXT NOT NULL, disk_gb INTEGER NOT NULL, number INTEGER NOT NULL, ssh_port INTEGER NOT NULL,
			price INTEGER NOT NULL, task INTEGER NOT NULL, placed INTEGER, created INTEGER, live INTEGER, ended INTEGER,
			note TEXT NOT NULL) STRICT;
		INSERT INTO servers_new SELECT name, owner, address, gateway, disk, account, state, wish_model, wish_memory,
			wish_cpu, wish_nic, image, disk_gb, number, ssh_port, price, task, placed, created, live, ended, note FROM servers;
		DROP TABLE servers;
		ALTER TABLE servers_new RENAME TO servers;`))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	checkEverything(t, s)
	s.Close()
	refused(t, path, ErrNewer) // by this program, which has one migration less
}

func TestFailedMigrationChangesNothing(t *testing.T) {
	for name, text := range map[string]string{
		"syntax":      "CREATE TABLE extra (x INTEGER) STRICT; CREATE NONSENSE;",
		"foreign key": "CREATE TABLE extra (x INTEGER) STRICT; DELETE FROM switches;",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "picloud.db")
			s := openAt(t, path, Options{})
			save(t, s, everything())
			s.Close()
			before := schema(t, path)
			if _, err := open(t.Context(), path, Options{}.withDefaults(), withNext(t, text)); err == nil ||
				!strings.Contains(err.Error(), "_next.sql") {
				t.Fatalf("error is %v", err)
			}
			if diff := cmp.Diff(before, schema(t, path)); diff != "" {
				t.Error(diff)
			}
			checkEverything(t, openAt(t, path, Options{}))
		})
	}
}

func TestFailedCreationLeavesNoDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "picloud.db")
	if _, err := open(t.Context(), path, Options{}.withDefaults(), withNext(t, "CREATE NONSENSE")); err == nil {
		t.Fatal("no error")
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a database is there: %v", err)
	}
	openAt(t, path, Options{})
}

func TestMigrationsAreNumbered(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"gap":       {"migration/0001_a.sql": {}, "migration/0003_c.sql": {}},
		"twice":     {"migration/0001_a.sql": {}, "migration/0001_b.sql": {}},
		"no number": {"migration/first.sql": {}},
	} {
		if _, err := migrations(files); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The statements of Save and of the pages must not read whole tables.
func TestPlansUseKeys(t *testing.T) {
	s := openNew(t, Options{})
	save(t, s, everything())
	for text, want := range map[string]string{
		logLines.sel("WHERE id < ? ORDER BY id DESC LIMIT ?"): "SEARCH log USING INTEGER PRIMARY KEY",
		audit.sel("WHERE ended IS NULL ORDER BY id"):          "SCAN audit USING INDEX audit_open",
		volumes.sel(presentVolumes):                           "volumes_present",
		servers.sel(presentServers):                           "servers_present",
		openJobs:                                              "SCAN jobs USING INDEX jobs_open",
		pageOfJobs:                                            "SEARCH jobs USING INTEGER PRIMARY KEY",
		pageOfBoots:                                           "SEARCH boots USING INDEX boots_of_pi (pi=?)",
		pruneBoots:                                            "SEARCH boots USING COVERING INDEX boots_of_pi (pi=? AND id<?)",
		pruneLog:                                              "SEARCH log USING INTEGER PRIMARY KEY (rowid<?)",
		pruneNotices:                                          "SEARCH notices USING INTEGER PRIMARY KEY (rowid<?)",
		oneJob:                                                "SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)",
		forgetOnces:                                           "SEARCH onces USING INDEX onces_by_time (time<?)",
		dropWebhook:                                           "SEARCH webhooks USING PRIMARY KEY (id=?)",
		deliveriesOf:                                          "SEARCH d USING INDEX deliveries_of_webhook (webhook=? AND notice<?)",
		noticesOf:                                             "SEARCH notices USING INDEX notices_of_account (account=? AND id>?)",
		ledgerOf:                                              "SEARCH ledger USING INDEX ledger_of_account (account=? AND time<?)",
	} {
		args := make([]any, strings.Count(text, "?"))
		if text == pruneBoots {
			args = args[:2]
		}
		plan, err := query(t.Context(), s.read, func(p *planLine) []any { return []any{&p.id, &p.parent, &p.unused, &p.detail} },
			"EXPLAIN QUERY PLAN "+text, args...)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := fmt.Sprint(plan); !strings.Contains(got, want) {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}

type planLine struct {
	id, parent, unused int
	detail             string
}
