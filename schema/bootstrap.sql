-- SPDX-License-Identifier: Apache-2.0
-- Database and roles: what only a superuser can make, before the first migration. Can be run again at any time;
-- it then sets the passwords to what is given. Run by psql 15 with the passwords in the environment:
--   FIRSTCOME_PASSWORD  FIRSTCOME_COMMAND_PASSWORD  FIRSTCOME_PROJECTOR_PASSWORD  FIRSTCOME_QUERY_PASSWORD
-- and, where the default of 50 is not right, FIRSTCOME_QUERY_CONNECTIONS: how many connections query services may have in
-- all on this server (fifteen each for every line of a shard map that names it, and two), so that those who read cannot shut out those who write.
-- What the roles may do with tables is said by the migrations, next to the tables.
\set ON_ERROR_STOP on
\getenv owner_password FIRSTCOME_PASSWORD
\getenv command_password FIRSTCOME_COMMAND_PASSWORD
\getenv projector_password FIRSTCOME_PROJECTOR_PASSWORD
\getenv query_password FIRSTCOME_QUERY_PASSWORD
\set query_connections 50
\getenv query_connections FIRSTCOME_QUERY_CONNECTIONS

-- The statements below carry passwords: they are not for the server's log.
SET log_min_duration_statement = -1;
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET client_min_messages = 'warning';

-- One at a time, wherever it was started from. Released when this session ends.
SET lock_timeout = '60s';
SELECT pg_advisory_lock(7310005001) \g /dev/null
SET lock_timeout = 0;

SELECT format('CREATE ROLE %I', role)
  FROM unnest(ARRAY['firstcome', 'firstcome_command', 'firstcome_projector', 'firstcome_query']) AS role
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
\gexec

ALTER ROLE firstcome LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'owner_password';
ALTER ROLE firstcome_command LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'command_password';
ALTER ROLE firstcome_projector LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'projector_password';
ALTER ROLE firstcome_query LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'query_password'
    CONNECTION LIMIT :query_connections;
-- The owner may act as a service (tests and repairs look at the database with a service's eyes).
GRANT firstcome_command, firstcome_projector, firstcome_query TO firstcome;

SELECT 'CREATE DATABASE firstcome OWNER firstcome'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'firstcome')
\gexec

-- Nobody is let in, or may make temporary tables, just for having a role.
REVOKE ALL ON DATABASE firstcome FROM PUBLIC;
REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE firstcome TO firstcome_command, firstcome_projector, firstcome_query;

\connect firstcome
SET client_min_messages = 'warning';
ALTER SCHEMA public OWNER TO firstcome;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO firstcome_command, firstcome_projector, firstcome_query;

-- Advisory locks are one room for the whole database, and which projector leads is one of them: who has no business there
-- is kept out.
SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', oid::regprocedure),
       format('GRANT EXECUTE ON FUNCTION %s TO firstcome, firstcome_projector', oid::regprocedure)
  FROM pg_proc
 WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^pg_(try_)?advisory_'
\gexec
