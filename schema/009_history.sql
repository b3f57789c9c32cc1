-- What steers (campaigns, settings, keys, revoked coupons) is looked for by people: of one campaign, and of all. An entry for
-- each such event only; issuing, reserving and redeeming pay nothing. On a large log make them beforehand, concurrently, by
-- the same names: then this does nothing.
DO $$
BEGIN
    FOR n IN 0..15 LOOP
        EXECUTE format('CREATE INDEX IF NOT EXISTS event_s%1$s_steered ON event_s%1$s (campaign_id, position)'
                       ' WHERE type NOT IN (6, 10, 11, 12, 13, 14)', lpad(n::text, 2, '0'));
        EXECUTE format('CREATE INDEX IF NOT EXISTS event_s%1$s_audit ON event_s%1$s (position)'
                       ' WHERE type NOT IN (6, 10, 11, 12, 13, 14)', lpad(n::text, 2, '0'));
    END LOOP;
END $$;
