-- EventSource::Outbox: the table of events that wait, version 2, for PostgreSQL 13 or newer.

CREATE TABLE eventsource_outbox (
    id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token     uuid        NOT NULL DEFAULT gen_random_uuid(),      -- the key with which the hub takes the row once
    created   timestamptz NOT NULL DEFAULT clock_timestamp(),
    channel   text        NOT NULL CHECK (channel <> '' AND octet_length(channel) <= 1024),
    event_key text        CHECK (octet_length(event_key) <= 1024),
    event     text        CHECK (event !~ '[\r\n]'),
    event_id  text        CHECK (event_id !~ '[\r\n]' AND octet_length(event_id) BETWEEN 1 AND 1024),
    data      text        CHECK (octet_length(data) <= 16000000),
    json      json        CHECK (octet_length(json::text) <= 16000000),
    comment   text        CHECK (octet_length(comment) <= 16000000),
    retry     integer     CHECK (retry BETWEEN 0 AND 86400000),    -- milliseconds
    retain    boolean     NOT NULL DEFAULT false,
    forget    boolean     NOT NULL DEFAULT false,
    once      text        CHECK (octet_length(once) BETWEEN 1 AND 256),
    state     smallint    NOT NULL DEFAULT 0,                      -- 0 waits, 1 is published, 2 is a dead letter
    finished  timestamptz,
    problem   text,
    CHECK (data IS NULL OR json IS NULL),
    CHECK (NOT (retain AND forget)),
    CHECK (forget OR num_nonnulls(data, json, comment, event, event_id, retry) > 0)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE INDEX ON eventsource_outbox (id) WHERE state = 0;

CREATE INDEX ON eventsource_outbox (finished) WHERE state = 1;

CREATE INDEX ON eventsource_outbox (id) WHERE state = 2;

-- A follower waits for this notification, so a commit reaches clients in milliseconds.
CREATE FUNCTION eventsource_outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('eventsource_outbox', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER notify AFTER INSERT ON eventsource_outbox
    FOR EACH STATEMENT EXECUTE FUNCTION eventsource_outbox_notify();

-- SELECT eventsource_outbox_publish('stock/7', json => '{"left": 2}', key => '7', retain => true);
CREATE FUNCTION eventsource_outbox_publish(
    channel text, data text DEFAULT NULL, json json DEFAULT NULL, key text DEFAULT NULL, event text DEFAULT NULL,
    retain boolean DEFAULT false, forget boolean DEFAULT false, id text DEFAULT NULL, retry integer DEFAULT NULL,
    once text DEFAULT NULL
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO eventsource_outbox (channel, data, json, event_key, event, retain, forget, event_id, retry, once)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
$$;

-- Which follower has the table: one at a time.
CREATE TABLE eventsource_outbox_follower (
    id         integer          PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    version    integer          NOT NULL DEFAULT 2,
    holder     text             NOT NULL DEFAULT '',
    held_until double precision NOT NULL DEFAULT 0,    -- seconds since 1970
    lease      double precision NOT NULL DEFAULT 0     -- seconds
);

INSERT INTO eventsource_outbox_follower DEFAULT VALUES;
