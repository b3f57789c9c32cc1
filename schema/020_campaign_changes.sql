-- A campaign may be changed after it was made: its definition is what the last CampaignCreated or CampaignChanged says.
INSERT INTO event_type (id, name) VALUES (19, 'CampaignChanged');
GRANT UPDATE (version, definition, quantity) ON campaign TO firstcome_command;
