PRAGMA application_id = 1885954924; -- 0x7069636c
PRAGMA user_version = 5;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE switches (
	name  TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
	ports INTEGER NOT NULL CHECK (ports >= 0)
) STRICT, WITHOUT ROWID;
INSERT INTO switches VALUES('sw1',48);
INSERT INTO switches VALUES('sw2',24);
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
INSERT INTO ports VALUES('sw1',23,1795426204123456,1,1,'deliveringPower',1,2,4294967295,2100,1,1,1,'forwarding');
CREATE TABLE servers (
	name  TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
	owner TEXT NOT NULL
, address TEXT NOT NULL DEFAULT '', gateway TEXT NOT NULL DEFAULT '', disk INTEGER NOT NULL DEFAULT 0, account TEXT REFERENCES accounts (name) DEFERRABLE INITIALLY DEFERRED, state TEXT NOT NULL DEFAULT '' CHECK (state IN
	('', 'provisioning', 'initialising', 'live', 'releasing', 'released', 'failed')), wish_model INTEGER NOT NULL DEFAULT 0, wish_memory INTEGER NOT NULL DEFAULT 0, wish_cpu INTEGER NOT NULL DEFAULT 0, wish_nic INTEGER NOT NULL DEFAULT 0, image TEXT NOT NULL DEFAULT '', disk_gb INTEGER NOT NULL DEFAULT 0 CHECK (disk_gb >= 0), number INTEGER NOT NULL DEFAULT 0 CHECK (number >= 0), ssh_port INTEGER NOT NULL DEFAULT 0 CHECK (ssh_port BETWEEN 0 AND 65535), price INTEGER NOT NULL DEFAULT 0 CHECK (price >= 0), task INTEGER NOT NULL DEFAULT 0 CHECK (task >= 0), placed INTEGER, created INTEGER, live INTEGER, ended INTEGER, note TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;
INSERT INTO servers VALUES('web1','ada','2001:db8:1::17/64','2001:db8:1::1',20000000000,NULL,'',0,0,0,0,'',0,0,0,0,0,NULL,NULL,NULL,NULL,'');
INSERT INTO servers VALUES('web2','bob','','',0,NULL,'',0,0,0,0,'',0,0,0,0,0,NULL,NULL,NULL,NULL,'');
INSERT INTO servers VALUES('web3','acme','2001:db8:2::7/64','fe80::1',30000000000,'acme','released',4,4096,1500,1000,'bookworm',30,7,5007,925,3,1795426210123456,1795426209123456,1795426250123456,1795426270123456,'gone to another rack');
CREATE TABLE server_keys (
	server TEXT NOT NULL REFERENCES servers (name) ON DELETE CASCADE,
	seq    INTEGER NOT NULL CHECK (seq >= 0),
	line   TEXT NOT NULL,
	PRIMARY KEY (server, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO server_keys VALUES('web1',0,'ssh-ed25519 AAAA ada@home');
INSERT INTO server_keys VALUES('web1',1,'ssh-rsa BBBB ada@work');
INSERT INTO server_keys VALUES('web3',0,'ssh-ed25519 CCCC ops@acme');
CREATE TABLE images (
	name  TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
	label TEXT NOT NULL,
	added INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO images VALUES('bookworm','Raspberry Pi OS 12',1795426191123456);
INSERT INTO images VALUES('bullseye','Raspberry Pi OS 11',NULL);
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
, rescue INTEGER NOT NULL DEFAULT 0 CHECK (rescue IN (0, 1)), memory INTEGER NOT NULL DEFAULT 0 CHECK (memory >= 0), exam INTEGER NOT NULL DEFAULT 0 CHECK (exam IN (0, 1))) STRICT, WITHOUT ROWID;
INSERT INTO pis VALUES('a3-001','v101','eth0.101','10.1.1.1','10.1.1.2/30','sw1',23,'4B',4275878552,'dc:a6:32:01:02:03','live','its fan rattles','web1',1,'a3-001-2','a3-001-1','bookworm','bullseye',1,4096,1);
INSERT INTO pis VALUES('a3-002','','','','',NULL,0,'',0,'','new','',NULL,0,'','','','',0,0,0);
CREATE TABLE volumes (
	name    TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
	pi      TEXT NOT NULL,
	image   TEXT NOT NULL,
	state   TEXT NOT NULL CHECK (state IN ('making', 'current', 'former', 'discarded', 'removed')),
	created INTEGER,
	changed INTEGER
, size INTEGER NOT NULL DEFAULT 0, server TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;
INSERT INTO volumes VALUES('a3-001-1','a3-001','bullseye','former',1795426192123456,1795426198123456,0,'web3');
INSERT INTO volumes VALUES('a3-001-2','a3-001','bookworm','current',1795426197123456,1795426198123456,32000000000,'');
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
, dest TEXT NOT NULL DEFAULT '', size INTEGER NOT NULL DEFAULT 0, server TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO jobs VALUES(1,1,1,'reimage','a3-001','ada','bookworm','a3-001-2','running',1,'',1795426201123456,1795426202123456,NULL,'',0,'');
INSERT INTO jobs VALUES(2,2,2,'cycle','a3-002','bob','','','failed',0,'sw1/24: no answer',1795426201123456,1795426201123456,1795426202123456,'',0,'');
INSERT INTO jobs VALUES(3,0,0,'move','','','','','queued',0,'',1795426203123456,NULL,NULL,'a3-002',64000000000,'web3');
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
INSERT INTO steps VALUES(1,0,'clone','done','1.2 GB',1795426202123456,1795426203123456);
INSERT INTO steps VALUES(1,1,'power','running','',1795426203123456,NULL);
INSERT INTO steps VALUES(1,2,'wait','waiting','',NULL,NULL);
INSERT INTO steps VALUES(2,0,'off','failed','',1795426201123456,1795426202123456);
CREATE TABLE boots (
	id      INTEGER PRIMARY KEY CHECK (id > 0),
	pi      TEXT NOT NULL,
	started INTEGER NOT NULL,
	reached TEXT NOT NULL CHECK (reached IN
		('off', 'power', 'dhcp', 'tftp', 'kernel', 'nfs', 'up', 'stalled', 'unknown')),
	up      INTEGER,
	cause   TEXT NOT NULL
) STRICT;
INSERT INTO boots VALUES(1,'a3-001',1795426200123456,'up',1795426240123456,'');
INSERT INTO boots VALUES(2,'a3-001',1795426250123456,'stalled',NULL,'no kernel7.img');
CREATE TABLE boot_events (
	boot     INTEGER NOT NULL REFERENCES boots (id) ON DELETE CASCADE,
	seq      INTEGER NOT NULL CHECK (seq >= 0),
	time     INTEGER NOT NULL,
	stage    TEXT NOT NULL CHECK (stage IN
		('off', 'power', 'dhcp', 'tftp', 'kernel', 'nfs', 'up', 'stalled', 'unknown')),
	evidence TEXT NOT NULL,
	PRIMARY KEY (boot, seq)
) STRICT;
INSERT INTO boot_events VALUES(1,0,1795426200123456,'power','2.1 W');
INSERT INTO boot_events VALUES(1,1,1795426209123456,'dhcp','DISCOVER 1');
INSERT INTO boot_events VALUES(2,0,1795426250123456,'power','');
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
INSERT INTO audit VALUES(1,1795426201123456,'ada','ssh','SHA256:abc','reimage','a3-001','asked for',1,'',NULL);
INSERT INTO audit VALUES(2,1795426201123456,'bob','','','cycle','a3-002','',2,'failed',1795426202123456);
CREATE TABLE log (
	id    INTEGER PRIMARY KEY CHECK (id > 0),
	time  INTEGER NOT NULL,
	actor TEXT NOT NULL,
	pi    TEXT NOT NULL,
	job   INTEGER NOT NULL,
	text  TEXT NOT NULL
) STRICT;
INSERT INTO log VALUES(1,1795426201123456,'ada','a3-001',1,'reimage: begun');
INSERT INTO log VALUES(2,1795426202123456,'','',0,'switch sw1 answers again');
CREATE TABLE host_keys (
	volume      TEXT NOT NULL REFERENCES volumes (name) ON DELETE CASCADE,
	system      TEXT NOT NULL CHECK (system IN ('root', 'rescue')),
	seq         INTEGER NOT NULL CHECK (seq >= 0),
	type        TEXT NOT NULL,
	fingerprint TEXT NOT NULL,
	PRIMARY KEY (volume, system, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO host_keys VALUES('a3-001-2','rescue',0,'ssh-ed25519','SHA256:three');
INSERT INTO host_keys VALUES('a3-001-2','root',0,'ssh-ed25519','SHA256:one');
INSERT INTO host_keys VALUES('a3-001-2','root',1,'ssh-rsa','SHA256:two');
CREATE TABLE operators (
	name  TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
	role  TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
	added INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO operators VALUES('alice','admin',1795426193123456);
INSERT INTO operators VALUES('bob','viewer',NULL);
CREATE TABLE operator_keys (
	operator TEXT NOT NULL REFERENCES operators (name) ON DELETE CASCADE,
	seq      INTEGER NOT NULL CHECK (seq >= 0),
	line     TEXT NOT NULL,
	PRIMARY KEY (operator, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO operator_keys VALUES('alice',0,'ssh-ed25519 AAAA alice@laptop');
INSERT INTO operator_keys VALUES('alice',1,'ssh-rsa BBBB alice@home');
CREATE TABLE accounts (
	name        TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
	contact     TEXT NOT NULL,
	max_servers INTEGER NOT NULL CHECK (max_servers >= 0),
	created     INTEGER,
	closed      INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO accounts VALUES('acme','ops@acme.example',20,1795426191123456,NULL);
INSERT INTO accounts VALUES('gone','',0,NULL,1795426199123456);
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
INSERT INTO api_keys VALUES('k7q2m5x3','acme','',1,'0a1b',1795426192123456,1795426196123456,1795426195123456);
INSERT INTO api_keys VALUES('s2s2s2s2',NULL,'alice',0,'2c3d',NULL,NULL,NULL);
CREATE TABLE webhooks (
	id      TEXT NOT NULL PRIMARY KEY CHECK (id <> ''),
	account TEXT NOT NULL REFERENCES accounts (name),
	url     TEXT NOT NULL,
	secret  TEXT NOT NULL,
	created INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO webhooks VALUES('w1','acme','https://acme.example/hook','whsec_MTIz',1795426192123456);
INSERT INTO webhooks VALUES('w2','acme','https://acme.example/other','',NULL);
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
INSERT INTO onces VALUES('acme','order-1','4e5f','order','web3',3,1795426209123456);
INSERT INTO onces VALUES('staff:alice','order-1','','','',0,1795426208123456);
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
INSERT INTO ledger VALUES(1,1795426250000000,'start','acme','web3',3,4,4096,1500,1000,10,750,'live');
INSERT INTO ledger VALUES(2,1795426260000000,'change','acme','web3',3,0,0,0,0,30,925,'');
INSERT INTO ledger VALUES(3,1795426260000000,'stop','acme','web3',3,0,0,0,0,0,0,'');
CREATE TABLE notices (
	id      INTEGER PRIMARY KEY CHECK (id > 0),
	time    INTEGER NOT NULL,
	account TEXT NOT NULL,
	server  TEXT NOT NULL,
	kind    TEXT NOT NULL CHECK (kind <> ''),
	text    TEXT NOT NULL,
	task    INTEGER NOT NULL
) STRICT;
INSERT INTO notices VALUES(1,1795426209123456,'acme','web3','server.ordered','it is ordered',3);
INSERT INTO notices VALUES(2,1795426250123456,'gone','old','server.live','',0);
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
INSERT INTO deliveries VALUES(1,'w1',2,1795426299123456,503,'busy',NULL);
INSERT INTO deliveries VALUES(1,'w2',1,NULL,204,'',1795426210123456);
CREATE TABLE IF NOT EXISTS "id_floors" (
	of TEXT NOT NULL PRIMARY KEY CHECK (of IN ('jobs', 'boots', 'audit', 'ledger', 'notices')),
	id INTEGER NOT NULL CHECK (id >= 0)
) STRICT, WITHOUT ROWID;
INSERT INTO id_floors VALUES('audit',2);
INSERT INTO id_floors VALUES('boots',2);
INSERT INTO id_floors VALUES('jobs',3);
INSERT INTO id_floors VALUES('ledger',3);
INSERT INTO id_floors VALUES('notices',2);
CREATE INDEX volumes_present ON volumes (name) WHERE state <> 'removed';
CREATE INDEX jobs_open ON jobs (id) WHERE state IN ('queued', 'running');
CREATE INDEX boots_of_pi ON boots (pi, id);
CREATE INDEX audit_open ON audit (id) WHERE ended IS NULL;
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
CREATE INDEX onces_by_time ON onces (time);
CREATE UNIQUE INDEX servers_number ON servers (number) WHERE number <> 0;
CREATE UNIQUE INDEX servers_address ON servers (address) WHERE number <> 0 AND address <> '';
CREATE UNIQUE INDEX servers_ssh_port ON servers (ssh_port) WHERE number <> 0 AND ssh_port <> 0;
CREATE INDEX servers_present ON servers (name) WHERE state NOT IN ('released', 'failed') OR number <> 0;
CREATE UNIQUE INDEX pis_server ON pis (server) WHERE server IS NOT NULL;
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
CREATE INDEX notices_of_account ON notices (account, id);
CREATE INDEX deliveries_waiting ON deliveries (webhook, notice) WHERE next IS NOT NULL;
CREATE INDEX deliveries_of_webhook ON deliveries (webhook, notice);
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
COMMIT;
