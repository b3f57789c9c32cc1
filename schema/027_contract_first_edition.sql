-- outside a transaction: what the first edition's rows were found by until 022 had filled them. Services that looked for them have stopped.

SELECT format('DROP INDEX CONCURRENTLY IF EXISTS event_s%s_former', lpad(n::text, 2, '0')) FROM generate_series(0, 15) AS n
\gexec
ALTER TABLE slice DROP COLUMN IF EXISTS keyed_from;
