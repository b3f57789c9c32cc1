-- Who reads the log reads it through event: 008 takes whose request an event was, of which payload and with which answer from the
-- projector and the query service there, but each partition still had the right to all of it from 001. Nobody uses a partition by its name.
DO $$
BEGIN
    FOR n IN 0..15 LOOP
        EXECUTE format('REVOKE ALL ON event_s%s FROM firstcome_command, firstcome_projector, firstcome_query', lpad(n::text, 2, '0'));
    END LOOP;
END $$;
