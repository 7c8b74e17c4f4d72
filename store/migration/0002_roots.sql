-- Sizes are bytes, 0 = as the image. A prefix and an address are as in pis, ''
-- when there is none.

ALTER TABLE servers ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE servers ADD COLUMN gateway TEXT NOT NULL DEFAULT '';
ALTER TABLE servers ADD COLUMN disk INTEGER NOT NULL DEFAULT 0;

ALTER TABLE pis ADD COLUMN rescue INTEGER NOT NULL DEFAULT 0 CHECK (rescue IN (0, 1));

ALTER TABLE volumes ADD COLUMN size INTEGER NOT NULL DEFAULT 0;

-- What a root's SSH server proves itself by, and what the small system did that
-- had it mounted last.
CREATE TABLE host_keys (
	volume      TEXT NOT NULL REFERENCES volumes (name) ON DELETE CASCADE,
	system      TEXT NOT NULL CHECK (system IN ('root', 'rescue')),
	seq         INTEGER NOT NULL CHECK (seq >= 0),
	type        TEXT NOT NULL,
	fingerprint TEXT NOT NULL,
	PRIMARY KEY (volume, system, seq)
) STRICT, WITHOUT ROWID;

-- Of a move, the Pi that the server goes to; of a resize, the size.
ALTER TABLE jobs ADD COLUMN dest TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
