-- Numbers below these were given by a database that a copy took the place of.
CREATE TABLE id_floors (
	of TEXT NOT NULL PRIMARY KEY CHECK (of IN ('jobs', 'boots', 'audit')),
	id INTEGER NOT NULL CHECK (id >= 0)
) STRICT, WITHOUT ROWID;
