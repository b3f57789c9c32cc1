-- outside a transaction: the indexes of 005, built beside the writers where there is a log already. Can be run again after it broke off.
-- On the partitions, because a unique index of the whole table would have to carry the slice.

SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index
 WHERE NOT indisvalid AND indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'event'::regclass)
\gexec
SELECT format('CREATE UNIQUE INDEX %1$s IF NOT EXISTS %2$s ON %3$s (%4$s) WHERE %4$s IS NOT NULL',
              CASE WHEN EXISTS (SELECT FROM event) THEN 'CONCURRENTLY' ELSE '' END, relname || '_' || name, oid::regclass, name)
  FROM pg_class CROSS JOIN unnest(ARRAY['key', 'holder']) AS name
 WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'event'::regclass)
 ORDER BY relname, name
\gexec
