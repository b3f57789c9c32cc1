-- outside a transaction: what is found by text is from before 005 only, so its index ends there. And what happened besides issuing, by
-- campaign and by coupon: issuing pays nothing for it. Compared bytewise, as everywhere.

SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index
 WHERE NOT indisvalid AND indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'event'::regclass)
\gexec
SELECT format(sql, CASE WHEN EXISTS (SELECT FROM event) THEN 'CONCURRENTLY' ELSE '' END, relname, oid::regclass)
  FROM pg_class CROSS JOIN (VALUES
       ('CREATE UNIQUE INDEX %1$s IF NOT EXISTS %2$s_former ON %3$s (user_id COLLATE "C", campaign_id COLLATE "C", nth) '
        'WHERE type = 6 AND holder IS NULL'),
       ('CREATE INDEX %1$s IF NOT EXISTS %2$s_other ON %3$s (campaign_id COLLATE "C", position) WHERE type <> 6'),
       ('CREATE INDEX %1$s IF NOT EXISTS %2$s_coupon ON %3$s (coupon_id COLLATE "C", position) WHERE type BETWEEN 10 AND 15')) AS _ (sql)
 WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'event'::regclass)
 ORDER BY relname, sql
\gexec
