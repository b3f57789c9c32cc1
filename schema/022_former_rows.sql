-- outside a transaction: what was written before 008 gets its holder and its key too, so that nothing looks for it in another way any more.
-- Services that look for it in both ways go on meanwhile. From the newest to the oldest, a thousand positions of one slice in each
-- transaction, which holds the slice for about a tenth of a second; slice.keyed_from says how far it is, so it can be broken off and run again.

CREATE OR REPLACE PROCEDURE fill_former_rows() LANGUAGE plpgsql AS $$
DECLARE
    n      int;
    here   slice%ROWTYPE;
    least  bigint;
    events text;
BEGIN
    FOR n IN 0..15 LOOP
        events := format('event_s%s', lpad(n::text, 2, '0'));
        LOOP
            SELECT * INTO here FROM slice WHERE slice = n FOR UPDATE; -- before the table's lock, as who appends does
            EXIT WHEN here.keyed_from = 0;
            least := greatest(here.keyed_from - 1000, 0);
            EXECUTE format('ALTER TABLE %I DISABLE TRIGGER append_only', events);
            EXECUTE format('UPDATE %I AS e SET holder = holder_of($1, e.user_id, e.campaign_id, e.nth) '
                           'WHERE e.slice = $2 AND e.position > $3 AND e.position <= $4 AND e.type = 6 AND e.holder IS NULL', events)
                USING here.secret, n::smallint, least, here.keyed_from;
            -- 12 bytes of the key's hash, 4 of the operation's. A coupon of its own was answered 201, rendered from the event; many at
            -- once 200, with a list that is kept. What else names a coupon's event did nothing, and stays where it is.
            EXECUTE format('UPDATE %I AS e SET key = encode(substr(uuid_send(i.key_hash), 1, 12) || substr(int8send(i.operation), 1, 4), '
                           '''hex'')::uuid, fingerprint = i.fingerprint, answer = i.answer FROM idempotency AS i '
                           'WHERE e.slice = $1 AND e.position > $2 AND e.position <= $3 AND e.type = 6 AND e.key IS NULL '
                           'AND i.slice = $1 AND i.position = e.position AND i.position > $2 AND i.position <= $3 '
                           'AND ((i.status = 201 AND i.answer IS NULL) OR (i.status = 200 AND substr(i.answer, 1, 1) = ''[''))', events)
                USING n::smallint, least, here.keyed_from;
            EXECUTE format('DELETE FROM idempotency AS i USING %I AS e WHERE i.slice = $1 AND i.position > $2 AND i.position <= $3 '
                           'AND e.slice = $1 AND e.position = i.position AND e.type = 6 AND e.key = encode(substr(uuid_send(i.key_hash), '
                           '1, 12) || substr(int8send(i.operation), 1, 4), ''hex'')::uuid', events)
                USING n::smallint, least, here.keyed_from;
            EXECUTE format('ALTER TABLE %I ENABLE TRIGGER append_only', events);
            UPDATE slice SET keyed_from = least WHERE slice = n;
            COMMIT;
        END LOOP;
        COMMIT;
    END LOOP;
END $$;
DROP INDEX IF EXISTS idempotency_position; -- of a run that was broken off
SELECT 'CREATE INDEX CONCURRENTLY idempotency_position ON idempotency (slice, position)' WHERE EXISTS (SELECT FROM slice WHERE keyed_from > 0)
\gexec
CALL fill_former_rows();
DROP INDEX IF EXISTS idempotency_position;
DROP PROCEDURE fill_former_rows();
