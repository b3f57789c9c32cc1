-- Rankings by redeemed coupons, where Redis cannot answer: which campaign's count changed when. Only redeeming and restoring pay
-- for it; issuing does not.

CREATE INDEX event_redeemed ON event (slice, campaign_id, position) WHERE type IN (11, 14);
