-- Times are whole microseconds since 1970-01-01 UTC: they sort and compare as
-- numbers, take 8 bytes and cannot be written in two ways. NULL is "not yet" or
-- "not known". `SELECT datetime(time/1e6, 'unixepoch')` shows one to a person.
--
-- Foreign keys stand where a row has no meaning without its parent. History
-- (jobs, boots, audit, log, volumes) names a Pi without a foreign key: it
-- outlives the place, which the configuration may drop. Images and volumes are
-- names on the file server, which may have been there before picloud.

CREATE TABLE switches (
	name  TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
	ports INTEGER NOT NULL CHECK (ports >= 0)
) STRICT, WITHOUT ROWID;

-- The last change of each port, for the time until the switch answers again.
CREATE TABLE ports (
	switch     TEXT NOT NULL REFERENCES switches (name) ON DELETE CASCADE,
	port       INTEGER NOT NULL CHECK (port > 0),
	at         INTEGER NOT NULL,
	enabled    INTEGER NOT NULL CHECK (enabled IN (0, 1)),
	delivering INTEGER NOT NULL CHECK (delivering IN (0, 1)),
	detection  TEXT NOT NULL,
	denied     INTEGER NOT NULL,
	overload   INTEGER NOT NULL,
	short      INTEGER NOT NULL,
	milliwatts INTEGER NOT NULL,
	has_watts  INTEGER NOT NULL CHECK (has_watts IN (0, 1)),
	link_known INTEGER NOT NULL CHECK (link_known IN (0, 1)),
	link_up    INTEGER NOT NULL CHECK (link_up IN (0, 1)),
	stp        TEXT NOT NULL,
	PRIMARY KEY (switch, port)
) STRICT, WITHOUT ROWID;

CREATE TABLE servers (
	name  TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
	owner TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE server_keys (
	server TEXT NOT NULL REFERENCES servers (name) ON DELETE CASCADE,
	seq    INTEGER NOT NULL CHECK (seq >= 0),
	line   TEXT NOT NULL,
	PRIMARY KEY (server, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE images (
	name  TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
	label TEXT NOT NULL,
	added INTEGER
) STRICT, WITHOUT ROWID;

-- A port is not UNIQUE: rewiring two Pis saves them one after the other, and
-- SQLite checks uniqueness row by row. The server is checked at the commit,
-- since servers are saved after Pis.
CREATE TABLE pis (
	name         TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
	segment      TEXT NOT NULL,
	interface    TEXT NOT NULL,
	server_addr  TEXT NOT NULL,
	addr         TEXT NOT NULL,
	switch       TEXT REFERENCES switches (name),
	port         INTEGER NOT NULL CHECK (port >= 0),
	model        TEXT NOT NULL,
	serial       INTEGER NOT NULL CHECK (serial BETWEEN 0 AND 4294967295),
	mac          TEXT NOT NULL CHECK (mac = '' OR length(mac) = 17),
	life         TEXT NOT NULL CHECK (life IN
		('new', 'ready', 'allocated', 'deploying', 'live', 'releasing', 'broken')),
	note         TEXT NOT NULL,
	server       TEXT REFERENCES servers (name) DEFERRABLE INITIALLY DEFERRED,
	power        INTEGER NOT NULL CHECK (power IN (0, 1)),
	volume       TEXT NOT NULL,
	former       TEXT NOT NULL,
	image        TEXT NOT NULL,
	former_image TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE volumes (
	name    TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
	pi      TEXT NOT NULL,
	image   TEXT NOT NULL,
	state   TEXT NOT NULL CHECK (state IN ('making', 'current', 'former', 'discarded', 'removed')),
	created INTEGER,
	changed INTEGER
) STRICT, WITHOUT ROWID;

-- Removed volumes are kept as history and pile up; a start reads the others.
CREATE INDEX volumes_present ON volumes (name) WHERE state <> 'removed';

CREATE TABLE jobs (
	id      INTEGER PRIMARY KEY CHECK (id > 0),
	batch   INTEGER NOT NULL,
	audit   INTEGER NOT NULL,
	verb    TEXT NOT NULL,
	pi      TEXT NOT NULL,
	actor   TEXT NOT NULL,
	image   TEXT NOT NULL,
	volume  TEXT NOT NULL,
	state   TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
	step    INTEGER NOT NULL CHECK (step >= 0),
	error   TEXT NOT NULL,
	created INTEGER NOT NULL,
	started INTEGER,
	ended   INTEGER
) STRICT;

CREATE INDEX jobs_open ON jobs (id) WHERE state IN ('queued', 'running');

CREATE TABLE steps (
	job     INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
	seq     INTEGER NOT NULL CHECK (seq >= 0),
	name    TEXT NOT NULL,
	state   TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
	detail  TEXT NOT NULL,
	started INTEGER,
	ended   INTEGER,
	PRIMARY KEY (job, seq)
) STRICT, WITHOUT ROWID;

-- Stages are stored by name, so that a stage put between two others renumbers
-- nothing that is stored.
CREATE TABLE boots (
	id      INTEGER PRIMARY KEY CHECK (id > 0),
	pi      TEXT NOT NULL,
	started INTEGER NOT NULL,
	reached TEXT NOT NULL CHECK (reached IN
		('off', 'power', 'dhcp', 'tftp', 'kernel', 'nfs', 'up', 'stalled', 'unknown')),
	up      INTEGER,
	cause   TEXT NOT NULL
) STRICT;

CREATE INDEX boots_of_pi ON boots (pi, id);

-- With a rowid: events of many boots come mixed, and are appended side by side
-- instead of each into its boot's page.
CREATE TABLE boot_events (
	boot     INTEGER NOT NULL REFERENCES boots (id) ON DELETE CASCADE,
	seq      INTEGER NOT NULL CHECK (seq >= 0),
	time     INTEGER NOT NULL,
	stage    TEXT NOT NULL CHECK (stage IN
		('off', 'power', 'dhcp', 'tftp', 'kernel', 'nfs', 'up', 'stalled', 'unknown')),
	evidence TEXT NOT NULL,
	PRIMARY KEY (boot, seq)
) STRICT;

CREATE TABLE audit (
	id     INTEGER PRIMARY KEY CHECK (id > 0),
	time   INTEGER NOT NULL,
	actor  TEXT NOT NULL,
	source TEXT NOT NULL,
	key    TEXT NOT NULL,
	verb   TEXT NOT NULL,
	target TEXT NOT NULL,
	reason TEXT NOT NULL,
	job    INTEGER NOT NULL,
	result TEXT NOT NULL,
	ended  INTEGER,
	CHECK ((result = '') = (ended IS NULL))
) STRICT;

CREATE INDEX audit_open ON audit (id) WHERE ended IS NULL;

-- The audit is only appended to. Closing a row is the one change, and is made
-- once; nothing else of the row may differ.
CREATE TRIGGER audit_keep BEFORE DELETE ON audit
BEGIN
	SELECT RAISE(ABORT, 'an audit row is never deleted');
END;

CREATE TRIGGER audit_once BEFORE UPDATE ON audit
WHEN OLD.ended IS NOT NULL
BEGIN
	SELECT RAISE(ABORT, 'an audit row is closed only once');
END;

CREATE TRIGGER audit_close BEFORE UPDATE ON audit
WHEN OLD.ended IS NULL AND (NEW.ended IS NULL
	OR (NEW.id, NEW.time, NEW.actor, NEW.source, NEW.key, NEW.verb, NEW.target, NEW.reason, NEW.job)
	<> (OLD.id, OLD.time, OLD.actor, OLD.source, OLD.key, OLD.verb, OLD.target, OLD.reason, OLD.job))
BEGIN
	SELECT RAISE(ABORT, 'an open audit row can only be closed');
END;

CREATE TABLE log (
	id    INTEGER PRIMARY KEY CHECK (id > 0),
	time  INTEGER NOT NULL,
	actor TEXT NOT NULL,
	pi    TEXT NOT NULL,
	job   INTEGER NOT NULL,
	text  TEXT NOT NULL
) STRICT;
