-- Times are milliseconds since 1970 by the writer's clock.
CREATE TABLE nudj_cache_entries (
    key        TEXT PRIMARY KEY NOT NULL,
    value      BLOB NOT NULL,
    written_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX nudj_cache_entries_expires_at ON nudj_cache_entries (expires_at);

CREATE TABLE nudj_cache_tags (
    tag TEXT NOT NULL,
    key TEXT NOT NULL REFERENCES nudj_cache_entries (key) ON DELETE CASCADE,
    PRIMARY KEY (tag, key)
) WITHOUT ROWID;
CREATE INDEX nudj_cache_tags_key ON nudj_cache_tags (key);

-- Keys ('k:…') and tags ('t:…') deleted lately: what was read from the origin before is refused.
CREATE TABLE nudj_cache_deletes (
    name       TEXT PRIMARY KEY NOT NULL,
    deleted_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX nudj_cache_deletes_deleted_at ON nudj_cache_deletes (deleted_at);
