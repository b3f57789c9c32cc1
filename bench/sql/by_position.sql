-- SPDX-License-Identifier: Apache-2.0
-- The bare command that reads from PostgreSQL are compared with: one event by its primary key.
\set position random(1, :last)
SELECT data FROM event WHERE slice = :slice AND position = :position;
