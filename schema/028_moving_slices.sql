-- What a slice on its way from one database of a shard map to another is kept by, in both of them: schema/migrate --move-slice takes the steps, docs/scale.md
-- says why no slice is lost or forked. For the owner alone. Whoever takes the steps may die on any line: each is one transaction, which looks under
-- the lock of the row whether it is next, and whose commit waits for the standby.
--
-- Who has the row in table slice owns it. It is in one place at each instant: in slice here, in slice_move while it is sealed, in slice there.
--   here: (owned) leaving -> sealed -> left                there: clearing -> arriving -> arrived (owned)
-- It comes into slice there only from `arriving`, as `sealed` has it here, in the same move. `sealed` ends as `left` only when `arrived` is durable
-- there, and as owned again only when `left` is durable there, from where nothing arrives.

CREATE TABLE slice_move (
    slice smallint PRIMARY KEY CHECK (slice BETWEEN 0 AND 15),
    move  uuid     NOT NULL, -- the same on both sides
    state text     NOT NULL CHECK (state IN ('leaving', 'sealed', 'left', 'clearing', 'arriving', 'arrived')),
    run   bigint   NOT NULL, -- counts who has begun to work on it: only the last of them goes on
    "row" jsonb,             -- of table slice, which is not there meanwhile
    CHECK ((state = 'sealed') = ("row" IS NOT NULL))
);

-- History goes only where it is not this database's: not any more, because it has arrived elsewhere, or not yet, because it was copied in vain.
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    n smallint;
BEGIN
    IF TG_OP = 'DELETE' THEN
        n := OLD.slice;
    ELSIF TG_OP = 'TRUNCATE' AND TG_TABLE_NAME ~ '^event_s\d\d$' THEN
        n := right(TG_TABLE_NAME, 2)::smallint;
    END IF;
    IF EXISTS (SELECT FROM slice_move WHERE slice = n AND state IN ('left', 'clearing')) AND NOT EXISTS (SELECT FROM slice WHERE slice = n) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% on % is refused: the log is append-only', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;

-- The tables that have something of a slice, but for the two that say whose it is: those of the log, which are written once, with their column of
-- positions; and all others. A table that is added is among them.
CREATE FUNCTION slice_tables(OUT name text, OUT place text, OUT columns text) RETURNS SETOF record LANGUAGE sql STABLE AS $$
    SELECT c.relname, CASE c.relname WHEN 'event' THEN 'position' WHEN 'batch' THEN 'first' WHEN 'issue_run' THEN 'last_position' END,
           (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname) FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')
      FROM pg_class c JOIN pg_attribute s ON s.attrelid = c.oid AND s.attname = 'slice' AND NOT s.attisdropped
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname NOT IN ('slice', 'slice_move')
     ORDER BY c.relname
$$;

-- Of all that a slice has in the tables of the log behind one position and up to another, or in the others (state): how many rows, and sums of
-- their hashes. Where two databases say the same they have the same rows. Of a primary: a standby may be behind.
CREATE FUNCTION slice_digest(n smallint, state boolean, after bigint, upto bigint) RETURNS text LANGUAGE plpgsql STABLE
SET timezone = 'UTC' SET bytea_output = 'hex' SET extra_float_digits = 1 AS $$
DECLARE
    t    record;
    one  text;
    said text := '';
BEGIN
    IF pg_is_in_recovery() OR state AND NOT EXISTS (SELECT FROM slice_move WHERE slice = n AND slice_move.state IN ('sealed', 'arriving')) THEN
        RAISE 'what changes of slice % is not at rest here', n;
    END IF;
    FOR t IN SELECT * FROM slice_tables() WHERE (place IS NULL) = state LOOP
        EXECUTE format('SELECT concat_ws('' '', count(*), sum((''x'' || substr(h, 1, 15))::bit(60)::bigint), sum((''x'' || substr(h, 16, 15))::bit(60)::bigint))'
                       ' FROM (SELECT encode(sha256(convert_to(to_jsonb(t)::text, ''UTF8'')), ''hex'') AS h FROM %I t WHERE slice = $1%s) AS _',
                       t.name, CASE WHEN state THEN '' ELSE format(' AND %1$I > $2 AND %1$I <= $3', t.place) END)
            INTO one USING n, after, upto;
        said := said || t.name || ' ' || one || '; ';
    END LOOP;
    RETURN said;
END $$;

-- How many rows are copied while it is sealed.
CREATE FUNCTION slice_changing(n smallint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    t    record;
    one  bigint;
    many bigint := 0;
BEGIN
    FOR t IN SELECT * FROM slice_tables() WHERE place IS NULL LOOP
        EXECUTE format('SELECT count(*) FROM %I WHERE slice = $1', t.name) INTO one USING n;
        many := many + one;
    END LOOP;
    RETURN many;
END $$;

-- Locks the row of a move for the rest of the transaction, where this run is the last one and its step is next.
CREATE FUNCTION slice_step(n smallint, m uuid, r bigint, states text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    s slice_move;
BEGIN
    SELECT * INTO s FROM slice_move WHERE slice = n FOR UPDATE;
    IF (s.move = m AND s.run = r AND s.state = ANY (states)) IS NOT TRUE THEN
        RAISE 'slice %: this is not the run that moves it, or not its next step (%)', n, coalesce(s.state, 'it does not move');
    END IF;
END $$;

-- A run begins where the slice is to arrive, and gets the number of the run there ...
CREATE FUNCTION slice_expect(n smallint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    r bigint;
BEGIN
    INSERT INTO slice_move (slice, move, state, run) VALUES (n, gen_random_uuid(), CASE WHEN EXISTS (SELECT FROM slice WHERE slice = n) THEN 'arrived' ELSE 'left' END, 0)
    ON CONFLICT DO NOTHING; -- there is a row to lock
    UPDATE slice_move SET run = run + 1 WHERE slice = n RETURNING run INTO r;
    RETURN r;
END $$;
-- ... then where it leaves: its state, move, run. A move has a new number until the seal, so that only where the last one led to it can arrive.
CREATE FUNCTION slice_leave(n smallint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    s slice_move;
BEGIN
    INSERT INTO slice_move (slice, move, state, run) VALUES (n, gen_random_uuid(), 'arrived', 0) ON CONFLICT DO NOTHING;
    SELECT * INTO s FROM slice_move WHERE slice = n FOR UPDATE;
    IF s.state IN ('arrived', 'leaving') AND EXISTS (SELECT FROM slice WHERE slice = n) THEN
        UPDATE slice_move SET state = 'leaving', move = gen_random_uuid() WHERE slice = n;
    ELSIF s.state NOT IN ('sealed', 'left') OR EXISTS (SELECT FROM slice WHERE slice = n) THEN
        RAISE 'slice % is not this database''s', n;
    END IF;
    UPDATE slice_move SET run = run + 1 WHERE slice = n RETURNING * INTO s;
    RETURN concat_ws(' ', s.state, s.move, s.run);
END $$;
-- ... and again where it is to arrive, if nobody has begun there meanwhile: the state. `fresh`: the other one owned it when the run had begun, so that
-- nothing here is of it but copies.
CREATE FUNCTION slice_receive(n smallint, m uuid, r bigint, fresh boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    s slice_move;
BEGIN
    SELECT * INTO s FROM slice_move WHERE slice = n FOR UPDATE;
    IF EXISTS (SELECT FROM slice WHERE slice = n) <> (s.move = m AND s.state = 'arrived') THEN
        RAISE 'two databases own slice %', n;
    ELSIF (s.run = r AND CASE s.move WHEN m THEN s.state IN ('clearing', 'arriving', 'arrived')
                         ELSE fresh AND s.state IN ('left', 'clearing', 'arriving') END) IS NOT TRUE THEN
        RAISE 'slice % is not on its way to this database', n;
    END IF;
    UPDATE slice_move SET move = m, state = CASE s.state WHEN 'left' THEN 'clearing' ELSE s.state END WHERE slice = n RETURNING * INTO s;
    RETURN s.state;
END $$;

-- Takes away what is here of a slice that is not: of a copy, so that it can begin, or of one that has left. Piece by piece.
CREATE PROCEDURE slice_clear(n smallint, m uuid, r bigint) LANGUAGE plpgsql AS $$
DECLARE
    t    record;
    gone bigint;
BEGIN
    PERFORM slice_step(n, m, r, ARRAY['clearing', 'arriving', 'left']);
    UPDATE slice_move SET state = 'clearing' WHERE slice = n AND state = 'arriving';
    EXECUTE format('TRUNCATE event_s%s', lpad(n::text, 2, '0')); COMMIT; -- the procedure's own, in the transaction of whoever calls it
    FOR t IN SELECT * FROM slice_tables() LOOP
        LOOP
            PERFORM slice_step(n, m, r, ARRAY['clearing', 'left']);
            EXECUTE format('DELETE FROM %1$I WHERE slice = $1 AND ctid = ANY (ARRAY(SELECT ctid FROM %1$I WHERE slice = $1 LIMIT 10000))', t.name) USING n;
            GET DIAGNOSTICS gone = ROW_COUNT; COMMIT;
            EXIT WHEN gone = 0;
        END LOOP;
    END LOOP;
    PERFORM slice_step(n, m, r, ARRAY['clearing', 'left']);
    UPDATE slice_move SET state = 'arriving' WHERE slice = n AND state = 'clearing';
    DELETE FROM slice_move WHERE slice = n AND state = 'left'; -- there is nothing of it any more
END $$;

-- How far a log goes, and its hash chain there.
CREATE FUNCTION slice_copied(n smallint) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT concat_ws(' ', b.last, encode(b.chain, 'hex')) FROM batch b WHERE b.slice = $1 ORDER BY b.first DESC LIMIT 1),
                    '0 ' || repeat('00', 32))
$$;
-- How far to copy at once from there, where this log goes on; NULL where it does not have that end: the copy is of another one, because of a failover
-- that lost what had been copied.
CREATE FUNCTION slice_next(n smallint, last bigint, chain text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT b.last FROM batch b WHERE b.slice = $1 AND b.first > $2 AND b.first <= $2 + least(500000, greatest(100000, split_part(slice_copied($1), ' ', 1)::bigint / 16))
                      ORDER BY b.first DESC LIMIT 1), $2)
     WHERE $2 = 0 OR EXISTS (SELECT FROM (SELECT * FROM batch b WHERE b.slice = $1 AND b.first <= $2 ORDER BY b.first DESC LIMIT 1) AS b
                              WHERE b.last = $2 AND encode(b.chain, 'hex') = $3)
$$;

-- The seal. Who has the row is waited for, by the session's lock_timeout; nobody gets it after.
CREATE FUNCTION slice_seal(n smallint, m uuid, r bigint) RETURNS void LANGUAGE plpgsql SET timezone = 'UTC' SET bytea_output = 'hex' AS $$
DECLARE
    was slice;
BEGIN
    PERFORM slice_step(n, m, r, ARRAY['leaving']);
    DELETE FROM slice WHERE slice = n RETURNING * INTO STRICT was;
    UPDATE slice_move SET state = 'sealed', "row" = to_jsonb(was) WHERE slice = n;
END $$;

-- The slice arrives, in the transaction that has copied the row (`hash`: what it was) and what changes, where all of its log is there.
CREATE FUNCTION slice_arrive(n smallint, m uuid, r bigint, hash text) RETURNS void LANGUAGE plpgsql SET timezone = 'UTC' SET bytea_output = 'hex' AS $$
BEGIN
    PERFORM slice_step(n, m, r, ARRAY['arriving']);
    IF NOT EXISTS (SELECT FROM slice s WHERE s.slice = n AND md5(to_jsonb(s)::text) = hash AND slice_copied(n) = concat_ws(' ', s.head, encode(s.chain, 'hex'))
                      AND s.head = (SELECT coalesce(max(e.position), 0) FROM event e WHERE e.slice = n)) THEN
        RAISE 'slice % has not arrived whole', n;
    END IF;
    UPDATE slice_move SET state = 'arrived' WHERE slice = n;
END $$;

-- When it has arrived: the former database gives it up.
CREATE FUNCTION slice_gone(n smallint, m uuid, r bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM slice_step(n, m, r, ARRAY['sealed', 'left']);
    UPDATE slice_move SET state = 'left', "row" = NULL WHERE slice = n;
END $$;

-- When it is not to arrive any more. First where it was to: false where that move does not lead to ...
CREATE FUNCTION slice_turn_away(n smallint, m uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    s slice_move;
BEGIN
    SELECT * INTO s FROM slice_move WHERE slice = n AND move = m FOR UPDATE;
    IF s.state = 'arrived' THEN
        RAISE 'slice % has arrived', n;
    END IF;
    UPDATE slice_move SET state = 'left', run = run + 1 WHERE slice = n AND move = m;
    RETURN FOUND;
END $$;
-- ... then here, where it is owned again.
CREATE FUNCTION slice_return(n smallint, m uuid, r bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM slice_step(n, m, r, ARRAY['sealed']);
    INSERT INTO slice SELECT (jsonb_populate_record(NULL::slice, s."row")).* FROM slice_move s WHERE s.slice = n;
    UPDATE slice_move SET state = 'arrived', "row" = NULL WHERE slice = n;
END $$;

DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname ~ '^slice_' LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', f);
    END LOOP;
END $$;
