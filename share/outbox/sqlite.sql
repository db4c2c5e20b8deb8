-- EventSource::Outbox: the table of events that wait, version 2, for SQLite 3.31 or newer.

CREATE TABLE eventsource_outbox (
    id        INTEGER PRIMARY KEY AUTOINCREMENT
                      CONSTRAINT database_has_encoding_UTF_8 CHECK (length(CAST('x' AS BLOB)) = 1),
    token     TEXT    NOT NULL DEFAULT (lower(hex(randomblob(16))))        -- the key with which the hub takes the row once
                      CHECK (length(CAST(token AS BLOB)) BETWEEN 1 AND 36),
    created   REAL    NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0),    -- seconds since 1970
    channel   TEXT    NOT NULL CHECK (channel <> '' AND length(CAST(channel AS BLOB)) <= 1024),
    event_key TEXT    CHECK (length(CAST(event_key AS BLOB)) <= 1024),
    event     TEXT    CHECK (instr(event, char(10)) = 0 AND instr(event, char(13)) = 0),
    event_id  TEXT    CHECK (instr(event_id, char(10)) = 0 AND instr(event_id, char(13)) = 0
                             AND length(CAST(event_id AS BLOB)) BETWEEN 1 AND 1024),
    data      TEXT    CHECK (length(CAST(data AS BLOB)) <= 16000000),
    json      TEXT    CHECK (length(CAST(json AS BLOB)) <= 16000000),
    comment   TEXT    CHECK (length(CAST(comment AS BLOB)) <= 16000000),
    retry     INTEGER CHECK (retry BETWEEN 0 AND 86400000),                -- milliseconds
    retain    INTEGER NOT NULL DEFAULT 0,                                  -- 0 or 1
    forget    INTEGER NOT NULL DEFAULT 0,                                  -- 0 or 1
    once      TEXT    CHECK (length(CAST(once AS BLOB)) BETWEEN 1 AND 256),
    state     INTEGER NOT NULL DEFAULT 0,                                  -- 0 waits, 1 is published, 2 is a dead letter
    finished  REAL,
    problem   TEXT,
    CHECK (data IS NULL OR json IS NULL),
    CHECK (NOT (retain AND forget)),
    CHECK (forget OR coalesce(data, json, comment, event, event_id, retry) IS NOT NULL)
);

CREATE INDEX eventsource_outbox_waiting ON eventsource_outbox (id) WHERE state = 0;

CREATE INDEX eventsource_outbox_published ON eventsource_outbox (finished) WHERE state = 1;

CREATE INDEX eventsource_outbox_dead ON eventsource_outbox (id) WHERE state = 2;

-- Which follower has the table: one at a time.
CREATE TABLE eventsource_outbox_follower (
    id         INTEGER PRIMARY KEY DEFAULT 1 CHECK (id = 1)
                       CONSTRAINT database_has_encoding_UTF_8 CHECK (length(CAST('x' AS BLOB)) = 1),
    version    INTEGER NOT NULL DEFAULT 2,
    holder     TEXT    NOT NULL DEFAULT '',
    held_until REAL    NOT NULL DEFAULT 0,                                 -- seconds since 1970
    lease      REAL    NOT NULL DEFAULT 0                                  -- seconds
);

INSERT INTO eventsource_outbox_follower (id) VALUES (1);
