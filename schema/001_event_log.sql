-- The event log and the small state rows that live and die with it (design §5).
--
-- One row lock on a slice serialises everything that happens to the campaigns hashed to it: lock, read, decide, append, advance
-- head, commit. Positions are handed out under that lock, so they are gapless and in commit order (I5); a reader
-- that has seen position N can never meet a smaller one later.
--
-- Everything carries the slice in its key, so that the same tables can be distributed by slice.

CREATE TABLE slice (
    slice       smallint    PRIMARY KEY CHECK (slice BETWEEN 0 AND 15),
    head        bigint      NOT NULL CHECK (head >= 0),              -- position of the last event
    chain       bytea       NOT NULL CHECK (octet_length(chain) = 32), -- hash chain up to head (I12)
    recorded_at timestamptz NOT NULL                                  -- time of the last event; never runs backwards
) WITH (fillfactor = 10); -- sixteen hot rows: room for HOT updates on their own page
INSERT INTO slice SELECT n, 0, decode(repeat('00', 32), 'hex'), 'epoch' FROM generate_series(0, 15) AS n;

CREATE TABLE event_type (
    id   smallint PRIMARY KEY,
    name text     NOT NULL UNIQUE
);
-- The same list as events/catalog.h; a test compares them.
INSERT INTO event_type VALUES
    (1, 'CampaignCreated'), (2, 'StockReleased'), (3, 'CampaignPaused'),
    (4, 'CampaignResumed'), (5, 'CampaignClosed'), (6, 'CouponIssued');

CREATE TABLE event (
    slice       smallint    NOT NULL,
    position    bigint      NOT NULL CHECK (position > 0),
    type        smallint    NOT NULL,
    version     smallint    NOT NULL,
    campaign_id text        NOT NULL,
    user_id     text,
    coupon_id   text,
    nth         smallint,              -- CouponIssued: the user's how-manyeth coupon of this campaign, from 1
    recorded_at timestamptz NOT NULL,  -- PostgreSQL's clock, read under the slice lock
    trace       bytea,                 -- W3C trace id and parent span id of the request, 16 + 8 bytes
    data        bytea       NOT NULL,  -- MessagePack, see events/catalog.h
    PRIMARY KEY (slice, position),
    CHECK (type <> 6 OR (user_id IS NOT NULL AND nth IS NOT NULL)) -- I2: NULLs are not unique
) PARTITION BY LIST (slice);

-- Sixteen partitions for ever: 1e9 events are 62 million rows each. Never one per campaign.
DO $$
BEGIN
    FOR n IN 0..15 LOOP
        EXECUTE format('CREATE TABLE event_s%s PARTITION OF event FOR VALUES IN (%s)', lpad(n::text, 2, '0'), n);
    END LOOP;
END $$;

-- I2 in the database itself, and the way to "coupons of a user". The only index besides the primary key: each one costs about
-- a tenth of append speed.
CREATE UNIQUE INDEX event_held ON event (slice, user_id, campaign_id, nth) WHERE type = 6;

-- One row per commit: which positions it wrote and the chain after them.
CREATE TABLE batch (
    slice       smallint    NOT NULL,
    first       bigint      NOT NULL,
    last        bigint      NOT NULL CHECK (last >= first),
    chain       bytea       NOT NULL CHECK (octet_length(chain) = 32),
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (slice, first)
);

-- Derived from the log in the transaction that appends to it, so that a decision never replays history; `projector
-- verify` derives it again.
CREATE TABLE campaign (
    slice      smallint    NOT NULL,
    id         text        NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text        NOT NULL, -- name of the API key
    version    smallint    NOT NULL, -- of CampaignCreated
    definition bytea       NOT NULL, -- its data
    quantity   bigint      NOT NULL,
    released   bigint      NOT NULL,
    issued     bigint      NOT NULL,
    status     smallint    NOT NULL, -- enum campaign_state in events/campaign.h
    plan_done  smallint    NOT NULL, -- how many tranches of the release plan were released
    first      bigint      NOT NULL, -- position of CampaignCreated
    position   bigint      NOT NULL, -- position of the last event of this campaign
    PRIMARY KEY (slice, id),
    CHECK (0 <= issued AND issued <= released AND released <= quantity) -- I1
) WITH (fillfactor = 50);
CREATE INDEX campaign_newest ON campaign (created_at DESC, id);

-- A sparse index over the coupons of a campaign: one row per commit and campaign, not per coupon, so a hot campaign pays one
-- row for hundreds of coupons. Finds a sequence number by its run, then the events by primary key.
CREATE TABLE issue_run (
    slice          smallint NOT NULL,
    campaign_id    text     NOT NULL,
    first_sequence bigint   NOT NULL,
    first_position bigint   NOT NULL,
    last_position  bigint   NOT NULL,
    PRIMARY KEY (slice, campaign_id, first_sequence)
);

-- I4: one row per Idempotency-Key that took effect, written in the transaction of its event. Refusals leave nothing. Keys are
-- kept as hashes: they are the client's secret.
CREATE TABLE idempotency (
    slice       smallint    NOT NULL,
    key_hash    uuid        NOT NULL, -- of API key name and Idempotency-Key
    operation   bigint      NOT NULL, -- hash of method and path
    fingerprint uuid        NOT NULL, -- hash of the payload
    status      smallint    NOT NULL, -- HTTP status of the first answer
    position    bigint,               -- the event that is the effect, where the answer is rendered from it again
    answer      bytea,                -- the first answer, where it cannot be rendered again
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (slice, key_hash, operation),
    CHECK (position IS NOT NULL OR answer IS NOT NULL)
);

-- Who leads a job that must run once; the epoch fences former leaders out.
CREATE TABLE lease (
    name  text   PRIMARY KEY,
    epoch bigint NOT NULL
);
INSERT INTO lease VALUES ('projector', 0);

-- History cannot be edited by accident, whoever asks: triggers for everybody, grants for the services.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: the log is append-only', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON event FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON batch FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON event FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON batch FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
DO $$
BEGIN
    FOR n IN 0..15 LOOP -- a partition can be truncated by its own name
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON event_s%s FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
                       lpad(n::text, 2, '0'));
    END LOOP;
END $$;

GRANT SELECT ON ALL TABLES IN SCHEMA public TO firstcome_command, firstcome_projector, firstcome_query;
GRANT INSERT ON event, batch, issue_run, idempotency TO firstcome_command;
GRANT UPDATE (head, chain, recorded_at) ON slice TO firstcome_command;
GRANT INSERT, UPDATE (released, issued, status, plan_done, position) ON campaign TO firstcome_command;
GRANT UPDATE (epoch) ON lease TO firstcome_projector;
REVOKE SELECT ON idempotency FROM firstcome_projector, firstcome_query;
