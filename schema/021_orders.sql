-- outside a transaction: which coupons an order reserved or redeemed, whatever became of them since. An entry for each CouponReserved and
-- CouponRedeemed only: issuing pays nothing. Built beside the writers where there is a log already, and finds what was written before.
-- Can be run again after it broke off.

-- The order an event of a coupon is about, as the bytes the client sent; NULL where the event has none. Of the payload itself
-- (events/catalog.h): a MessagePack map of at most 15 fields, whose first key is 1, the order's id, wherever an order is named. Never fails,
-- because what fails here would refuse the event.
CREATE OR REPLACE FUNCTION order_of(data bytea) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN octet_length(data) < 4 OR substr(data, 2, 1) <> '\x01' THEN NULL
                WHEN get_byte(data, 2) BETWEEN 160 AND 191 THEN substr(data, 4, get_byte(data, 2) - 160) -- up to 31 bytes
                WHEN get_byte(data, 2) = 217 THEN substr(data, 5, get_byte(data, 3)) END
$$;

SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index
 WHERE NOT indisvalid AND indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'event'::regclass)
\gexec
SELECT format('CREATE INDEX %1$s IF NOT EXISTS %2$s_order ON %3$s (order_of(data), coupon_id) WHERE type IN (10, 11)',
              CASE WHEN EXISTS (SELECT FROM event) THEN 'CONCURRENTLY' ELSE '' END, relname, oid::regclass)
  FROM pg_class WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'event'::regclass)
 ORDER BY relname
\gexec
