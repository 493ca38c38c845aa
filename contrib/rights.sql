-- The rights libfailover needs in PostgreSQL, and no others.
--
--   psql -X -d postgres -v role=failover -f rights.sql
--
-- Run it once on the primary, as a superuser, in the database that the engine connects to (rights to functions belong to
-- one database; the standbys get them through replication). It may be run again. Then give the role a password with
-- \password failover, or let it in by certificate, and add lines to pg_hba.conf of every server, no replication line among them:
--   hostssl  postgres  failover  ENGINE-ADDRESS/32   scram-sha-256
--   hostssl  postgres  failover  HAPROXY-ADDRESS/32  scram-sha-256
\set ON_ERROR_STOP on
\set QUIET on
\if :{?role}
\else
\set role failover
\endif

SELECT current_database() AS database, current_setting('server_version_num')::int >= 150000 AS has_parameter_rights,
       current_setting('server_version_num')::int >= 160000 AS has_reserved_connections \gset

BEGIN;

SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec

GRANT CONNECT ON DATABASE :"database" TO :"role";

-- Positions, states and names of standbys, the state of a WAL receiver, the startup process: without it they are hidden,
-- and hidden standbys cannot be judged.
-- Rights that are not inherited are not there: from PostgreSQL 16 on the membership says so, before that the role.
\if :has_reserved_connections
GRANT pg_monitor TO :"role" WITH INHERIT TRUE;
\else
ALTER ROLE :"role" INHERIT;
GRANT pg_monitor TO :"role";
\endif

-- Promotion by pg_promote, and the reloads that keep it from stalling. Not needed with promote.method = "pg_ctl".
GRANT EXECUTE ON FUNCTION pg_catalog.pg_promote(boolean, integer) TO :"role";
GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO :"role";

-- After a promotion no standby may be left that synchronous commits could wait for: on_no_sync_standby = "async" empties
-- this one setting. Before PostgreSQL 15 only a superuser can.
\if :has_parameter_rights
GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO :"role";
\else
\warn 'PostgreSQL before 15: the role cannot change synchronous_standby_names; set on_no_sync_standby = "block"'
\endif

-- After a failover the other standbys are pointed to the new primary (data.followers = "auto"). Before PostgreSQL 15 only a superuser
-- can. A standby that uses a slot keeps one only if the role may create it: psql -v slots=on grants that, and with it replication.
\if :has_parameter_rights
GRANT ALTER SYSTEM ON PARAMETER primary_conninfo, primary_slot_name TO :"role";
\else
\warn 'PostgreSQL before 15: the role cannot change primary_conninfo; set data.followers = "off"'
\endif
\if :{?slots}
ALTER ROLE :"role" REPLICATION;
\endif

-- `failover force` stops a primary that lives: a checkpoint before that makes its stop shorter. Not needed, and before
-- PostgreSQL 15 only a superuser can.
\if :has_parameter_rights
GRANT pg_checkpoint TO :"role";
\endif

-- A place where clients have taken all others: what reserved_connections keeps, from PostgreSQL 16 on. It keeps none by default.
\if :has_reserved_connections
GRANT pg_use_reserved_connections TO :"role" WITH INHERIT TRUE;
\endif

COMMIT;

\echo
\echo 'Granted to role' :"role" 'in database' :"database":
\echo '  login and CONNECT; member of pg_monitor'
\echo '  EXECUTE on pg_promote(boolean, integer) and pg_reload_conf()'
\if :has_parameter_rights
\echo '  ALTER SYSTEM on synchronous_standby_names, primary_conninfo, primary_slot_name; member of pg_checkpoint'
\endif
\if :has_reserved_connections
\echo '  member of pg_use_reserved_connections'
\endif
\if :{?slots}
\echo '  REPLICATION, to create slots'
\else
\echo '  no REPLICATION: a standby that uses a slot follows a new primary without one'
\endif
\echo 'No superuser. Next: a password (\\password), and its lines in pg_hba.conf of every server.'
