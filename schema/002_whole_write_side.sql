-- What the whole write side needs: what happens to a coupon after it was issued, campaigns that end or vanish, the service's own
-- settings, and quotas. Additive: a service of the former version goes on working.

INSERT INTO event_type VALUES
    (7, 'CampaignDeleted'), (8, 'CampaignEnded'), (9, 'ReleasePlanHalted'),
    (10, 'CouponReserved'), (11, 'CouponRedeemed'), (12, 'ReservationReleased'), (13, 'ReservationExpired'),
    (14, 'CouponRestored'), (15, 'CouponRevoked'),
    (16, 'IssuerSuspended'), (17, 'IssuerResumed'), (18, 'SettingChanged');

ALTER TABLE campaign
    ADD COLUMN redeemed    bigint  NOT NULL DEFAULT 0,
    ADD COLUMN reserved    bigint  NOT NULL DEFAULT 0,
    ADD COLUMN plan_halted boolean NOT NULL DEFAULT false,
    ADD COLUMN due_at      timestamptz, -- next tranche of the release plan, or the end; NULL where nothing is due by itself
    ADD CHECK (0 <= redeemed AND 0 <= reserved AND redeemed + reserved <= issued); -- I6

-- What is there already is looked at once by the sweep, which then writes the real time.
UPDATE campaign SET due_at = 'epoch';

-- The sweep finds what is due by these; a row is in one only while it waits for its time.
CREATE INDEX campaign_due ON campaign (slice, due_at) WHERE due_at IS NOT NULL;

-- A row only once something happened to the coupon after it was issued, so that issuing pays nothing for it. The last
-- event says all of the state; the coupon itself is in its CouponIssued.
CREATE TABLE coupon (
    slice           smallint    NOT NULL,
    position        bigint      NOT NULL, -- of its CouponIssued
    campaign_id     text        NOT NULL,
    state           smallint    NOT NULL, -- enum coupon_state in events/coupon.h
    last            bigint      NOT NULL, -- position of its last event
    changed_at      timestamptz NOT NULL, -- time of its last event
    order_id        text,
    order_amount    bigint      NOT NULL,
    discount_amount bigint      NOT NULL,
    reserved_until  timestamptz,
    reason          text,
    PRIMARY KEY (slice, position),
    CHECK ((state = 2) = (reserved_until IS NOT NULL)),
    CHECK ((state IN (2, 3)) = (order_id IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX coupon_due ON coupon (slice, reserved_until) WHERE state = 2;

-- Settings and kill switches: what the control stream of slice 0 says now. Services look here a few times a second.
CREATE TABLE control (
    slice    smallint NOT NULL,
    kind     smallint NOT NULL, -- 1 setting, 2 suspended issuer
    name     text     NOT NULL, -- of the setting, or of the API key
    value    text     NOT NULL, -- of the setting; of an issuer 'suspended' or ''
    position bigint   NOT NULL, -- of the last event that said so
    PRIMARY KEY (slice, kind, name)
);

-- How many campaigns were created, by UTC day, by each API key (scope 'key:<name>') and by all (scope '*'); and the stock of those that are
-- open (scope '#', day 'epoch'). Locked in order of scope by whoever creates, after the slices. Derivable from the log.
CREATE TABLE creation_quota (
    slice smallint NOT NULL,
    scope text     NOT NULL,
    day   date     NOT NULL,
    used  bigint   NOT NULL CHECK (used >= 0),
    PRIMARY KEY (slice, scope, day)
);

INSERT INTO creation_quota
SELECT 0, '#', 'epoch', coalesce(sum(quantity), 0) FROM campaign WHERE status IN (1, 2)
UNION ALL SELECT 0, '*', (created_at AT TIME ZONE 'UTC')::date, count(*) FROM campaign GROUP BY 3
UNION ALL SELECT 0, 'key:' || created_by, (created_at AT TIME ZONE 'UTC')::date, count(*) FROM campaign GROUP BY 2, 3;

GRANT SELECT ON coupon, control, creation_quota TO firstcome_command, firstcome_projector, firstcome_query;
GRANT INSERT ON coupon, control, creation_quota TO firstcome_command;
GRANT UPDATE (redeemed, reserved, plan_halted, due_at) ON campaign TO firstcome_command;
GRANT UPDATE (state, last, changed_at, order_id, order_amount, discount_amount, reserved_until, reason) ON coupon TO firstcome_command;
GRANT UPDATE (value, position) ON control TO firstcome_command;
GRANT UPDATE (used) ON creation_quota TO firstcome_command;
