-- Orders: customers with their API keys and webhooks, what their servers are and
-- cost, and what they are told. Money is whole pence.

CREATE TABLE accounts (
	name        TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
	contact     TEXT NOT NULL,
	max_servers INTEGER NOT NULL CHECK (max_servers >= 0),
	created     INTEGER,
	closed      INTEGER
) STRICT, WITHOUT ROWID;

-- A key is an account's or one of the staff's. An operator is no foreign key: they
-- are removed when they leave, and their keys stay as history.
CREATE TABLE api_keys (
	id        TEXT NOT NULL PRIMARY KEY CHECK (id <> ''),
	account   TEXT REFERENCES accounts (name),
	operator  TEXT NOT NULL,
	read_only INTEGER NOT NULL CHECK (read_only IN (0, 1)),
	hash      TEXT NOT NULL CHECK (hash <> ''),
	created   INTEGER,
	revoked   INTEGER,
	used      INTEGER,
	CHECK ((account IS NULL) = (operator <> ''))
) STRICT, WITHOUT ROWID;

CREATE TABLE webhooks (
	id      TEXT NOT NULL PRIMARY KEY CHECK (id <> ''),
	account TEXT NOT NULL REFERENCES accounts (name),
	url     TEXT NOT NULL,
	secret  TEXT NOT NULL,
	created INTEGER
) STRICT, WITHOUT ROWID;

-- What a command came to that its caller may send again. account is also
-- "staff:" and an operator's name.
CREATE TABLE onces (
	account TEXT NOT NULL CHECK (account <> ''),
	key     TEXT NOT NULL CHECK (key <> ''),
	digest  TEXT NOT NULL,
	verb    TEXT NOT NULL,
	server  TEXT NOT NULL,
	job     INTEGER NOT NULL,
	time    INTEGER NOT NULL,
	PRIMARY KEY (account, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX onces_by_time ON onces (time);

-- The account is checked at the commit, since accounts are saved after servers.
ALTER TABLE servers ADD COLUMN account TEXT REFERENCES accounts (name) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE servers ADD COLUMN state TEXT NOT NULL DEFAULT '' CHECK (state IN
	('', 'provisioning', 'initialising', 'live', 'releasing', 'released', 'failed'));
ALTER TABLE servers ADD COLUMN wish_model INTEGER NOT NULL DEFAULT 0;
ALTER TABLE servers ADD COLUMN wish_memory INTEGER NOT NULL DEFAULT 0;
ALTER TABLE servers ADD COLUMN wish_cpu INTEGER NOT NULL DEFAULT 0;
ALTER TABLE servers ADD COLUMN wish_nic INTEGER NOT NULL DEFAULT 0;
ALTER TABLE servers ADD COLUMN image TEXT NOT NULL DEFAULT '';
ALTER TABLE servers ADD COLUMN disk_gb INTEGER NOT NULL DEFAULT 0 CHECK (disk_gb >= 0);
ALTER TABLE servers ADD COLUMN number INTEGER NOT NULL DEFAULT 0 CHECK (number >= 0);
ALTER TABLE servers ADD COLUMN ssh_port INTEGER NOT NULL DEFAULT 0 CHECK (ssh_port BETWEEN 0 AND 65535);
ALTER TABLE servers ADD COLUMN price INTEGER NOT NULL DEFAULT 0 CHECK (price >= 0);
ALTER TABLE servers ADD COLUMN task INTEGER NOT NULL DEFAULT 0 CHECK (task >= 0);
ALTER TABLE servers ADD COLUMN placed INTEGER;
ALTER TABLE servers ADD COLUMN created INTEGER;
ALTER TABLE servers ADD COLUMN live INTEGER;
ALTER TABLE servers ADD COLUMN ended INTEGER;
ALTER TABLE servers ADD COLUMN note TEXT NOT NULL DEFAULT '';

-- A place in the pool is given once. What ended keeps it in quarantine, and has
-- 0 after that.
CREATE UNIQUE INDEX servers_number ON servers (number) WHERE number <> 0;
CREATE UNIQUE INDEX servers_address ON servers (address) WHERE number <> 0 AND address <> '';
CREATE UNIQUE INDEX servers_ssh_port ON servers (ssh_port) WHERE number <> 0 AND ssh_port <> 0;

-- What has ended and holds no number is kept as history and piles up; a start
-- reads the others.
CREATE INDEX servers_present ON servers (name) WHERE state NOT IN ('released', 'failed') OR number <> 0;

ALTER TABLE pis ADD COLUMN memory INTEGER NOT NULL DEFAULT 0 CHECK (memory >= 0);
ALTER TABLE pis ADD COLUMN exam INTEGER NOT NULL DEFAULT 0 CHECK (exam IN (0, 1));

-- A server is on one Pi at most: whatever a program does, no Pi is given twice
-- and no root is booted twice.
CREATE UNIQUE INDEX pis_server ON pis (server) WHERE server IS NOT NULL;

ALTER TABLE volumes ADD COLUMN server TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN server TEXT NOT NULL DEFAULT '';

-- The ledger is only appended to, in the order of number and time. A server, told
-- from a later one of its name by its task, begins to cost once and ends once.
CREATE TABLE ledger (
	id      INTEGER PRIMARY KEY CHECK (id > 0),
	time    INTEGER NOT NULL CHECK (time % 1000000 = 0),
	kind    TEXT NOT NULL CHECK (kind IN ('start', 'change', 'stop')),
	account TEXT NOT NULL REFERENCES accounts (name),
	server  TEXT NOT NULL CHECK (server <> ''),
	task    INTEGER NOT NULL,
	model   INTEGER NOT NULL,
	memory  INTEGER NOT NULL,
	cpu     INTEGER NOT NULL,
	nic     INTEGER NOT NULL,
	disk_gb INTEGER NOT NULL CHECK (disk_gb >= 0),
	price   INTEGER NOT NULL CHECK (price >= 0),
	reason  TEXT NOT NULL,
	CHECK (kind <> 'stop' OR price = 0)
) STRICT;

CREATE INDEX ledger_of_account ON ledger (account, time);
CREATE UNIQUE INDEX ledger_once ON ledger (server, task, kind) WHERE kind <> 'change';

CREATE TRIGGER ledger_keep BEFORE DELETE ON ledger
BEGIN
	SELECT RAISE(ABORT, 'a row of the ledger is never deleted');
END;

CREATE TRIGGER ledger_fixed BEFORE UPDATE ON ledger
BEGIN
	SELECT RAISE(ABORT, 'a row of the ledger is never changed');
END;

CREATE TRIGGER ledger_order BEFORE INSERT ON ledger
WHEN EXISTS (SELECT 1 FROM ledger WHERE id >= NEW.id)
	OR NEW.time < (SELECT time FROM ledger ORDER BY id DESC LIMIT 1)
BEGIN
	SELECT RAISE(ABORT, 'a row of the ledger comes after all that are there');
END;

CREATE TRIGGER ledger_begun BEFORE INSERT ON ledger
WHEN NEW.kind <> 'start' AND NOT EXISTS
	(SELECT 1 FROM ledger WHERE server = NEW.server AND task = NEW.task AND kind = 'start' AND account = NEW.account)
BEGIN
	SELECT RAISE(ABORT, 'the account has not begun to pay for this server');
END;

CREATE TRIGGER ledger_over BEFORE INSERT ON ledger
WHEN EXISTS (SELECT 1 FROM ledger WHERE server = NEW.server AND task = NEW.task AND kind = 'stop')
BEGIN
	SELECT RAISE(ABORT, 'this server costs nothing any more');
END;

-- What customers are told. A notice that is on its way to a webhook stays.
CREATE TABLE notices (
	id      INTEGER PRIMARY KEY CHECK (id > 0),
	time    INTEGER NOT NULL,
	account TEXT NOT NULL,
	server  TEXT NOT NULL,
	kind    TEXT NOT NULL CHECK (kind <> ''),
	text    TEXT NOT NULL,
	task    INTEGER NOT NULL
) STRICT;

CREATE INDEX notices_of_account ON notices (account, id);

CREATE TABLE deliveries (
	notice   INTEGER NOT NULL REFERENCES notices (id) ON DELETE CASCADE,
	webhook  TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
	attempts INTEGER NOT NULL CHECK (attempts >= 0),
	next     INTEGER,
	status   INTEGER NOT NULL,
	error    TEXT NOT NULL,
	done     INTEGER,
	PRIMARY KEY (notice, webhook),
	CHECK (next IS NULL OR done IS NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_waiting ON deliveries (webhook, notice) WHERE next IS NOT NULL;
CREATE INDEX deliveries_of_webhook ON deliveries (webhook, notice);

-- Who follows them by number must miss none.
CREATE TRIGGER notices_order BEFORE INSERT ON notices
WHEN EXISTS (SELECT 1 FROM notices WHERE id >= NEW.id)
BEGIN
	SELECT RAISE(ABORT, 'a notice comes after all that are there');
END;

CREATE TRIGGER notices_fixed BEFORE UPDATE ON notices
BEGIN
	SELECT RAISE(ABORT, 'a notice is never changed');
END;

CREATE TRIGGER notices_keep BEFORE DELETE ON notices
WHEN EXISTS (SELECT 1 FROM deliveries WHERE notice = OLD.id AND next IS NOT NULL)
BEGIN
	SELECT RAISE(ABORT, 'a notice on its way is never deleted');
END;

-- The numbers of ledger and notices outlive a restore too.
CREATE TABLE id_floors_new (
	of TEXT NOT NULL PRIMARY KEY CHECK (of IN ('jobs', 'boots', 'audit', 'ledger', 'notices')),
	id INTEGER NOT NULL CHECK (id >= 0)
) STRICT, WITHOUT ROWID;
INSERT INTO id_floors_new SELECT of, id FROM id_floors;
DROP TABLE id_floors;
ALTER TABLE id_floors_new RENAME TO id_floors;
