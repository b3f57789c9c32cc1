-- An Idempotency-Key lives in the row of the event that is its effect, and who holds what is found by a short keyed hash: one row and
-- two indexes of 16 bytes for a coupon, where there were two rows, a third index and texts. Additive: a service of the former version
-- goes on working. Until 008 has run, services write and read table idempotency and the index event_held besides.

-- Secret of a slice: what holders are hashed with, so that nobody outside can make two that collide. keyed_from: events after this
-- position have holder, and their keys with them; NULL: services of the former version may still append.
ALTER TABLE slice
    ADD COLUMN secret     bytea NOT NULL DEFAULT uuid_send(gen_random_uuid()),
    ADD COLUMN keyed_from bigint;

ALTER TABLE event
    ADD COLUMN key         uuid,  -- 12 bytes of API key name and Idempotency-Key, 4 of operation and target: all uses of a key are a range
    ADD COLUMN fingerprint uuid,  -- of the payload; NULL where the event says it (CouponIssued: the user)
    ADD COLUMN answer      bytea, -- the first answer, where it cannot be rendered from the event again
    ADD COLUMN holder      uuid;  -- CouponIssued: holder_of()

-- 10 bytes of the user, 6 of the campaign and nth: a user's coupons are a range, and each may be there once (I2). The same as
-- events/holder.c.
CREATE FUNCTION holders_of(secret bytea, user_id text, OUT low uuid, OUT high uuid) LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT encode(h || '\x000000000000', 'hex')::uuid, encode(h || '\xffffffffffff', 'hex')::uuid
      FROM (SELECT substr(sha256(secret || 'u'::bytea || convert_to(user_id, 'UTF8')), 1, 10) AS h) AS _
$$;
CREATE FUNCTION holder_of(secret bytea, user_id text, campaign_id text, nth bigint) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT encode(substr(sha256(secret || 'u'::bytea || convert_to(user_id, 'UTF8')), 1, 10) ||
                  substr(sha256(secret || 'c'::bytea || convert_to(campaign_id || ':' || nth, 'UTF8')), 1, 6), 'hex')::uuid
$$;

-- A campaign whose id the client chose may lie in another slice than its Idempotency-Key. Then the key is claimed first, in its own
-- slice and transaction, for one payload; the creation follows in the campaign's. Whoever has another payload for the key first makes
-- sure that the former attempt can no longer take effect, by a fence in the slice where it would, and then takes the claim over.
CREATE TABLE creation_claim (
    slice       smallint         NOT NULL, -- of the key
    key         uuid             NOT NULL, -- as in event
    attempt     bigint           NOT NULL, -- how often the claim was taken over, from 1
    fingerprint uuid             NOT NULL, -- whose it is
    campaign_id text COLLATE "C" NOT NULL, -- what is to be created
    PRIMARY KEY (slice, key)
);
CREATE TABLE creation_fence (
    slice   smallint NOT NULL, -- of a campaign that a claim was for
    key     uuid     NOT NULL,
    attempt bigint   NOT NULL, -- up to which attempts do nothing here
    PRIMARY KEY (slice, key)
);

-- Each slice counts its own creations now, so a slice may have to give back stock that another has counted.
ALTER TABLE creation_quota DROP CONSTRAINT creation_quota_used_check;

-- A campaign whose coupons expire before it ends is over then: the sweep looks at each once and writes the real time.
UPDATE campaign SET due_at = 'epoch' WHERE status IN (1, 2);

-- The effects of keys, wherever they are kept: which event, when, and whether the answer is rendered from it.
CREATE OR REPLACE VIEW idempotency_effect AS
SELECT slice, status, position, recorded_at, answer IS NULL AS rendered FROM idempotency
UNION ALL
SELECT slice, (CASE type WHEN 6 THEN 201 ELSE 200 END)::smallint, position, recorded_at, answer IS NULL FROM event WHERE key IS NOT NULL;

GRANT SELECT, INSERT, UPDATE (attempt, fingerprint, campaign_id) ON creation_claim TO firstcome_command;
GRANT SELECT, INSERT, UPDATE (attempt) ON creation_fence TO firstcome_command;
