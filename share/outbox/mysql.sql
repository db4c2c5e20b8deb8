-- EventSource::Outbox: the table of events that wait, version 2, for MariaDB 10.5 or newer and MySQL 8.0.16 or newer.

CREATE TABLE eventsource_outbox (
    id        BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    token     CHAR(36)        NOT NULL DEFAULT (UUID()),           -- the key with which the hub takes the row once
    created   TIMESTAMP(6)    NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    channel   TEXT            NOT NULL CHECK (channel <> '' AND LENGTH(channel) <= 1024),
    event_key TEXT            CHECK (LENGTH(event_key) <= 1024),
    event     TEXT            CHECK (INSTR(event, CHAR(10)) = 0 AND INSTR(event, CHAR(13)) = 0),
    event_id  TEXT            CHECK (INSTR(event_id, CHAR(10)) = 0 AND INSTR(event_id, CHAR(13)) = 0
                                     AND LENGTH(event_id) BETWEEN 1 AND 1024),
    data      LONGTEXT        CHECK (LENGTH(data) <= 16000000),
    json      LONGTEXT        CHECK (LENGTH(json) <= 16000000),
    comment   LONGTEXT        CHECK (LENGTH(comment) <= 16000000),
    retry     INTEGER         CHECK (retry BETWEEN 0 AND 86400000), -- milliseconds
    retain    BOOLEAN         NOT NULL DEFAULT FALSE,
    forget    BOOLEAN         NOT NULL DEFAULT FALSE,
    once      TEXT            CHECK (LENGTH(once) BETWEEN 1 AND 256),
    state     TINYINT         NOT NULL DEFAULT 0,                   -- 0 waits, 1 is published, 2 is a dead letter
    finished  TIMESTAMP(6)    NULL DEFAULT NULL,
    problem   TEXT,
    KEY (state, id),
    KEY (state, finished),
    CHECK (data IS NULL OR json IS NULL),
    CHECK (NOT (retain AND forget)),
    CHECK (forget OR COALESCE(data, json, comment, event, event_id, retry) IS NOT NULL)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Which follower has the table: one at a time.
CREATE TABLE eventsource_outbox_follower (
    id         INTEGER      NOT NULL PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    version    INTEGER      NOT NULL DEFAULT 2,
    holder     VARCHAR(200) NOT NULL DEFAULT '',
    held_until DOUBLE       NOT NULL DEFAULT 0,                     -- seconds since 1970
    lease      DOUBLE       NOT NULL DEFAULT 0                      -- seconds
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT INTO eventsource_outbox_follower (id) VALUES (1);
