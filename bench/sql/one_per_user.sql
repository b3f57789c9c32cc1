-- SPDX-License-Identifier: Apache-2.0
-- What `make bench` compares group commit with: the usual way to give out coupons, one transaction for each user,
-- on the same tables. Lock, check, insert, update, commit, as an application would send them. In its own favour it
-- leaves out HTTP, the slice and its hash chain, and the probe for a repeated key (the index refuses it).
-- Run with pgbench -M prepared -D slice=<the slice of the campaign>.
\set user random(1, 1000000000000000000)
BEGIN;
SELECT issued + 1 AS sequence FROM campaign WHERE slice = :slice AND id = 'bench-hot' AND issued < released AND status = 1 FOR UPDATE \gset
SELECT count(*) AS held FROM event e WHERE e.slice = :slice AND e.holder = md5('h' || :user)::uuid \gset
INSERT INTO event (slice, position, type, version, campaign_id, user_id, coupon_id, nth, recorded_at, data, key, holder) VALUES (:slice, :sequence, 6, 1, 'bench-hot', 'bench-' || :user, 'c' || :slice || '-' || :sequence, :held + 1, clock_timestamp(), '\x83010002010300', md5('k' || :user)::uuid, md5('h' || :user)::uuid);
UPDATE campaign SET issued = :sequence, position = :sequence WHERE slice = :slice AND id = 'bench-hot';
COMMIT;
