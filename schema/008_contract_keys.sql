-- No service of the former version appends any more: from here on every coupon has its holder and every effect its key. What was
-- written before stays where it is, and is looked for there.

LOCK TABLE slice IN ACCESS EXCLUSIVE MODE;
UPDATE slice SET keyed_from = head;
ALTER TABLE slice ALTER COLUMN keyed_from SET NOT NULL, ALTER COLUMN keyed_from SET DEFAULT 0;

-- Names are compared as bytes, whatever the database's collation is. The CHECK is one of new rows: it would be read for all of the log.
DROP INDEX event_held, event_redeemed;
ALTER TABLE event
    DROP CONSTRAINT event_check,
    ALTER COLUMN campaign_id TYPE text COLLATE "C",
    ALTER COLUMN user_id TYPE text COLLATE "C",
    ALTER COLUMN coupon_id TYPE text COLLATE "C",
    ADD CHECK (type <> 6 OR (user_id IS NOT NULL AND nth IS NOT NULL AND holder IS NOT NULL)) NOT VALID; -- I2: NULLs are not unique
ALTER TABLE campaign ALTER COLUMN id TYPE text COLLATE "C", ALTER COLUMN created_by TYPE text COLLATE "C";
ALTER TABLE issue_run ALTER COLUMN campaign_id TYPE text COLLATE "C";
ALTER TABLE coupon ALTER COLUMN campaign_id TYPE text COLLATE "C", ALTER COLUMN order_id TYPE text COLLATE "C";
ALTER TABLE control ALTER COLUMN name TYPE text COLLATE "C";
ALTER TABLE creation_quota ALTER COLUMN scope TYPE text COLLATE "C";

-- Each slice has what its own campaigns count for.
DELETE FROM creation_quota;
INSERT INTO creation_quota
SELECT slice, '#', 'epoch', sum(quantity) FROM campaign WHERE status IN (1, 2) GROUP BY slice
UNION ALL SELECT slice, '*', (created_at AT TIME ZONE 'UTC')::date, count(*) FROM campaign GROUP BY 1, 3
UNION ALL SELECT slice, 'key:' || created_by, (created_at AT TIME ZONE 'UTC')::date, count(*) FROM campaign GROUP BY 1, 2, 3;

-- Whose request an event was, of which payload and with which answer, is not for who reads the log.
REVOKE SELECT ON event FROM firstcome_projector, firstcome_query;
GRANT SELECT (slice, position, type, version, campaign_id, user_id, coupon_id, nth, recorded_at, trace, data, holder) ON event
    TO firstcome_projector, firstcome_query;
