-- SPDX-License-Identifier: Apache-2.0
-- The same event appended by message-db, into the one stream of the campaign: its function takes the lock of the
-- category, finds the stream's version and inserts. No HTTP, no rule about stock or users, no idempotency key.
\set user random(1, 1000000000000000000)
SELECT write_message(gen_random_uuid()::varchar, 'coupon-benchHot', 'CouponIssued', ('{"user_id":"bench-' || :user || '","nth":1}')::jsonb);
