CREATE TABLE operators (
	name  TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
	role  TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
	added INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE operator_keys (
	operator TEXT NOT NULL REFERENCES operators (name) ON DELETE CASCADE,
	seq      INTEGER NOT NULL CHECK (seq >= 0),
	line     TEXT NOT NULL,
	PRIMARY KEY (operator, seq)
) STRICT, WITHOUT ROWID;
