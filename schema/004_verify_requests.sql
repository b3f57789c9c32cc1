-- What `projector verify` may know of idempotency rows: which event is the effect, and when. Not whose, of which key, of which payload,
-- nor with which answer: the view is read with its owner's rights, and the table stays closed to the projector.
CREATE VIEW idempotency_effect AS
SELECT slice, status, position, recorded_at, answer IS NULL AS rendered FROM idempotency;

GRANT SELECT ON idempotency_effect TO firstcome_projector;
