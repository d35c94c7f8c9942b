-- A cache: after a crash of the server it may as well be empty, so nothing is written to the log.
CREATE UNLOGGED TABLE nudj_cache_entries (
    key        text COLLATE "C" PRIMARY KEY,
    value      bytea NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX nudj_cache_entries_expires_at ON nudj_cache_entries (expires_at);

CREATE UNLOGGED TABLE nudj_cache_tags (
    tag text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL REFERENCES nudj_cache_entries (key) ON DELETE CASCADE,
    PRIMARY KEY (tag, key)
);
CREATE INDEX nudj_cache_tags_key ON nudj_cache_tags (key);

-- Keys ('k:…') and tags ('t:…') deleted lately: what was read from the origin before is refused.
CREATE UNLOGGED TABLE nudj_cache_deletes (
    name       text COLLATE "C" PRIMARY KEY,
    deleted_at timestamptz NOT NULL
);
CREATE INDEX nudj_cache_deletes_deleted_at ON nudj_cache_deletes (deleted_at);
