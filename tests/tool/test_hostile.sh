# Hostile dumps against a real server that logs every statement: what is refused was never sent, not
# a word of it, and no database or role is left. And the places where psql ends with status 0 and
# has lost rows: here they fail, loudly.
source "$(dirname "$0")/lib.sh"
source "$here/tests/lib/postgres.sh"
if ! pg_bin initdb >/dev/null 2>&1; then
    echo 'skipped: no PostgreSQL server programs here'
    ok
    finish hostile
    exit
fi
chmod 711 "$work"
cleanups+=(pg_scratch_stop)
pg_scratch_start fsync=off log_statement=all log_connections=on "log_line_prefix='%u@%d '" || {
    no 'scratch server'
    finish hostile
    exit 1
}
log=$pg_scratch_dir/server.log
psql -X -q -d postgres -c 'CREATE ROLE intake LOGIN CREATEDB CREATEROLE'
dsn="host=$PGHOST port=$PGPORT user=intake dbname=postgres"

# A dump that is good but for what a case puts before its data, or into it.
before() {
    cat <<'END'
--
-- PostgreSQL database dump
--

\restrict aB3

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
CREATE TABLE public.users (name text, admin text);
CREATE SEQUENCE public.s;
END
}
after() {
    cat <<'END'
COPY public.users (name, admin) FROM stdin;
@one:example.org	1
@two:example.org	0
@three:example.org	0
\.
ALTER TABLE ONLY public.users ADD CONSTRAINT users_key UNIQUE (name);
--
-- PostgreSQL database dump complete
--

\unrestrict aB3
END
}
{ before && after; } >good.sql
check 'the frame of all cases is good' 0 ems-restore --dsn "$dsn" -d good good.sql
grep -q 'COPY public.users' "$log" && ok || no 'the log shows what is sent'
gzip <good.sql >good.sql.gz
check 'the same, compressed' 0 ems-restore -f --dsn "$dsn" -d good good.sql.gz
grep -q "'statement_timeout', '10min'" "$log" && ok || no 'the schema has a time limit'
grep -q "'statement_timeout', '24h'" "$log" && ok || no 'other statements have a time limit'

objects() {
    psql -X -At -d postgres -c "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database" \
        -c "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles"
}
was=$(objects)

# hostile NAME FILE [PATTERN]: refused with status 1 in the first pass, so the server heard nothing
# but the question before it, whether it is there and the database's name is free: these lines and
# no other. From a pipe it hears what came before; but nothing that is marked.
question='LOG:  (connection (received|authorized): |disconnection: |execute <unnamed>: SELECT '
question+="(pg_catalog.set_config\\('search_path', '', false\\)|rolsuper, rolsuper OR |"
question+="'yes' FROM pg_catalog.pg_database WHERE datname = \\\$1\$))|"
question+="DETAIL:  parameters: \\\$1 = 'bad'\$"
hostile() {
    local lines
    lines=$(wc -l <"$log")
    check "$1" 1 ems-restore --dsn "$dsn" -d bad "$2"
    says "${3:-sql-refused}"
    tail -n +$((lines + 1)) "$log" | grep -vE "$question" >heard && no "$1: the server heard $(cat heard)" || ok
}
piped() {
    local lines
    lines=$(wc -l <"$log")
    check "$1, from a pipe" 1 bash -c 'cat "$1" | ems-restore --dsn "$0" -d bad -' "$dsn" "$2"
    says "${3:-sql-refused}"
    tail -n +$((lines + 1)) "$log" | grep -v '^@' >heard
    grep -q 'CREATE DATABASE ems_load' heard && ok || no "$1: the server should have heard something"
    if grep -qiE 'evil|PROGRAM|/etc/passwd' heard; then no "$1: the server heard $(grep -iE 'evil|PROGRAM|passwd' heard | head -n 1)"; else ok; fi
    grep -qE 'CONSTRAINT users_key' heard && no "$1: the server heard what comes behind it" || ok
}

# One case a paragraph: everything that a dump can try on whoever restores it. "evil" marks it.
cat >cases <<'END'
\! touch evil

SELECT 1 \! touch evil

\copy public.users FROM PROGRAM 'touch evil'

\i /etc/passwd

\connect evil

\o |touch evil

\set evil `touch evil`

\unrestrict aB3
\! touch evil

\unrestrict `touch evil`

\restrict evil

SELECT 'touch evil' \gexec

SELECT 'evil' AS x \gset

\if true \! touch evil

-- Name: x
DROP TABLE evil; Type: TABLE; Schema: public

/* /* */ DO $$BEGIN PERFORM 'evil'; END$$; /* */ */ SELECT evil();

COPY public.users FROM PROGRAM 'touch evil';

COPY public.users (name, admin) FROM '/etc/passwd';

COPY (SELECT 'evil') TO PROGRAM 'touch evil';

COPY public.evil (name) FROM stdin;
DROP TABLE public.users;
\.

COPY public.users (name, admin) FROM stdin WHERE evil();

COPY public.users (name, evil) FROM stdin;
DROP TABLE public.users;
\.

COPY public.users (name) FROM stdin; SELECT evil();

DO $$BEGIN EXECUTE 'evil'; END$$;

CREATE EXTENSION evil;

CREATE EXTENSION dblink; -- evil

CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public VERSION 'evil';

CREATE FUNCTION public.evil() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;

CREATE FUNCTION public.check_partial_state_events() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN EXECUTE 'evil'; END$$;

CREATE FUNCTION public.check_partial_state_events() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN RETURN 'evil'; END$$;

CREATE FUNCTION public.populate_min_depth2() RETURNS trigger LANGUAGE plpgsql SET role = 'evil' AS $$BEGIN new.min_depth2 := new.min_depth; RETURN NEW; END;$$;

CREATE OR REPLACE FUNCTION pg_catalog.now() RETURNS text LANGUAGE sql AS 'SELECT ''evil''';

CREATE FUNCTION public.evil() RETURNS int BEGIN ATOMIC; SELECT 1; DROP TABLE public.users; END;

CREATE FUNCTION public.populate_min_depth2() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN new.min_depth2 := new.min_depth; RETURN NEW; END;$$;
CREATE TRIGGER evil BEFORE INSERT OR UPDATE ON public.users FOR EACH ROW EXECUTE FUNCTION public.populate_min_depth2();

CREATE AGGREGATE public.evil (text) (SFUNC = f, STYPE = text);

CREATE PROCEDURE public.evil() LANGUAGE sql AS 'SELECT 1';

CALL evil();

ALTER ROLE CURRENT_USER PASSWORD 'evil';

ALTER ROLE intake SET role = 'evil';

CREATE ROLE evil SUPERUSER;

GRANT evil TO intake; ALTER SYSTEM SET evil = 1;

ALTER DATABASE good SET search_path = 'evil';

DROP DATABASE evil;

ALTER SYSTEM SET shared_preload_libraries = 'evil';

LOAD 'evil';

CREATE VIEW public.evil AS SELECT * FROM public.users;

CREATE MATERIALIZED VIEW public.evil AS SELECT 1;

CREATE RULE evil AS ON SELECT TO public.users DO INSTEAD (SELECT 1; SELECT 2);

CREATE RULE populate_stream_ordering2 AS ON INSERT TO public.users DO ALSO DELETE FROM evil;

CREATE POLICY evil ON public.users USING (true);

ALTER TABLE public.users ENABLE ROW LEVEL SECURITY; -- evil

CREATE EVENT TRIGGER evil ON ddl_command_start EXECUTE FUNCTION public.evil();

CREATE PUBLICATION evil FOR ALL TABLES; CREATE SUBSCRIPTION evil CONNECTION 'host=evil' PUBLICATION evil;

CREATE SERVER evil FOREIGN DATA WRAPPER postgres_fdw;

CREATE TABLE public.evil (a text DEFAULT pg_read_file('/etc/passwd'));

CREATE TABLE public.evil (a text DEFAULT public.evil());

CREATE TABLE public.evil (a text DEFAULT (SELECT 1));

CREATE TABLE public.evil (a text, b text GENERATED ALWAYS AS (evil(a)) STORED);

CREATE TABLE public.evil (a text, CONSTRAINT k CHECK (pg_sleep(1) IS NULL));

CREATE TABLE public.evil () INHERITS (public.users);

CREATE TABLE public.evil (a text) TABLESPACE evil;

CREATE TABLE pg_catalog.evil (a text);

CREATE TABLE public.U&"\0065vil" (a text);

CREATE TABLE public.evil4567890123456789012345678901234567890123456789012345678901234 (a text);

CREATE TABLE public.users (evil text);

CREATE TABLE evil (a text);

CREATE INDEX evil ON public.users USING btree (pg_sleep(admin));

CREATE INDEX evil ON public.users USING btree (public.evil(name));

CREATE INDEX evil ON public.users USING btree (name) WHERE (evil(name));

ALTER TABLE public.users ALTER COLUMN name TYPE text USING evil(name);

ALTER TABLE public.users ADD COLUMN x text DEFAULT evil();

CREATE OPERATOR public.= (FUNCTION = evil, LEFTARG = text, RIGHTARG = text);

CREATE CAST (text AS integer) WITH FUNCTION evil(text);

CREATE TYPE public.evil AS ENUM ('a');

CREATE DOMAIN public.evil AS text CHECK (evil());

SET session_replication_role = 'replica'; -- evil

SET role = 'evil';

SET dynamic_library_path = 'evil';

SET statement_timeout = (SELECT evil());

SET search_path = evil, pg_catalog;

SELECT pg_catalog.set_config('log_statement', 'evil', false);

SELECT pg_catalog.set_config('search_path', 'evil', false);

SELECT set_config('search_path', '', false), evil();

SELECT pg_catalog.setval('public.s', 1, true), evil();

SELECT pg_catalog.setval('public.evil', 1, true);

SELECT evil();

SELECT lo_import('/etc/passwd');

SELECT pg_catalog.lo_export(1, 'evil');

SELECT pg_catalog.lo_create('666'); -- evil

BEGIN; SELECT evil(); COMMIT;

SET client_encoding = 'SJIS';
COMMENT ON TABLE public.users IS '表'; SELECT evil(); --';

SET standard_conforming_strings = off;
COMMENT ON TABLE public.users IS 'a\'; SELECT evil(); --';

COMMENT ON TABLE public.users IS E'a\'' 'b'; SELECT evil();

COMMENT ON TABLE public.users IS $a$ $b$ $a$ || evil();

COMMENT ON TABLE public.users IS U&'\0065vil';

INSERT INTO public.users VALUES (evil(), 1);

INSERT INTO public.users VALUES ('a', (SELECT evil()));

INSERT INTO public.users SELECT evil();

INSERT INTO public.users VALUES ('a', 1) RETURNING evil();

INSERT INTO public.users VALUES ('a', 1) ON CONFLICT (name) DO UPDATE SET name = evil();

INSERT INTO public.users VALUES ('evil', 1\;);

UPDATE public.users SET name = 'evil';

TRUNCATE public.users, evil;

PREPARE evil AS SELECT 1;

LISTEN evil;

REFRESH MATERIALIZED VIEW evil;

SECURITY LABEL ON ROLE evil IS 'x';

;
END
count=0
while IFS= read -r -d $'\f' text; do
    { before && printf '%s\n' "$text" && after; } >case.sql
    count=$((count + 1))
    hostile "case $count ($(head -n 1 <<<"$text" | cut -c1-40))" case.sql 'sql-(refused|encoding|truncated)'
    case $count in 2 | 14 | 16 | 19 | 23 | 27) piped "case $count" case.sql ;; esac
done < <(perl -0pe 's/\n\n/\f/g; s/\n?\z/\f/' cases)
[ $count -ge 100 ] && ok || no "only $count cases"
absent evil

# the same in two forms that cannot be written above
{ before && printf -- '-- Name: x\rSELECT evil();\n' && after; } >case.sql
hostile 'a carriage return ends a comment' case.sql
{ before && printf 'SELECT evil\0();\n' && after; } >case.sql
hostile 'a NUL byte in a statement' case.sql 'sql-encoding'
{ before && printf 'COMMENT ON TABLE public.users IS E\x27\x81\\\x27; SELECT evil();--\x27;\n' && after; } >case.sql
hostile 'bytes that are no UTF-8' case.sql 'sql-encoding'
{ before && after && echo 'SELECT evil();'; } >case.sql
hostile 'a statement behind the end' case.sql 'sql-malformed'
{ before && after && printf '%s\n' '\! touch evil'; } >case.sql
hostile 'a command behind the end' case.sql
after >tail
{ before && cat tail && sed '1,/^ALTER/d' tail && cat tail; } >case.sql
hostile 'two dumps in one file' case.sql 'sql-(refused|malformed)'
{ before && sed '/^ALTER/,$d' tail && cat tail; } >case.sql
hostile 'data twice' case.sql

# ---- expensive ones: refused for what they are, in time that grows with their size alone ----
big() { # NAME PERL-EXPRESSION
    { before && perl -e "$2" && after; } >case.sql
    hostile "$1" case.sql
    [ $SECONDS -lt $((started + 10)) ] && ok || no "$1 took $((SECONDS - started)) s"
}
started=$SECONDS
big 'comments in comments' 'print "SELECT ", "/*" x 5e6'
big 'parentheses' 'print "CREATE TABLE public.evil (a text DEFAULT ", "(" x 30000, ")" x 30000, ");\n"'
started=$SECONDS
big '1 + 1 + ...' 'print "CREATE TABLE public.evil (a integer DEFAULT ", "1+" x 5e6, "1);\n"'
big 'a hundred thousand columns' 'print "CREATE TABLE public.evil (", join(",", map { "c$_ text" } 1 .. 1e5), ");\n"'
started=$SECONDS
big 'a million statements' 'print "SET lock_timeout = 0;\n" x 1e6'
big 'a million tables' 'print "CREATE TABLE public.evil$_ (a text);\n" for 1 .. 1e5'
started=$SECONDS
big 'a statement of 20 MB' 'print "COMMENT ON TABLE public.users IS \x27", "evil" x 5e6, "\x27;\n"'
big 'an INSERT of 40 MB' 'print "INSERT INTO public.users VALUES (\x27", "evil" x 1e7, "\x27, 1);\n"'
started=$SECONDS
big 'a comment of 40 MB' 'print "SELECT /* ", "evil" x 1e7, " */ 1;\n"'
big 'a backslash command of 4 MB' 'print "\\restrict ", "evil" x 1e6, "\n"'

[ "$(objects)" = "$was" ] && ok || no "databases and roles: $(objects)"

# ---- where psql ends with status 0 and has lost rows ----
# lost NAME FILE CODE [TABLES]: psql is content and has not three users; ems-restore says CODE.
lost() {
    local rows
    psql -X -q -d postgres -c 'DROP DATABASE IF EXISTS lost' -c 'CREATE DATABASE lost' >/dev/null 2>&1
    psql -X -q -v ON_ERROR_STOP=1 -d lost -f "$2" >psql.txt 2>&1
    [ $? = 0 ] && ok || no "$1: psql noticed: $(tail -n 1 psql.txt)"
    rows=$(psql -X -At -d lost -c "${4:-SELECT count(*) FROM users}" 2>/dev/null)
    [ "$rows" != 3 ] && ok || no "$1: psql lost nothing"
    check "$1" 1 ems-restore --json --dsn "$dsn" -d bad "$2"
    json finding/code "$3"
    check "$1, from a pipe" 1 bash -c 'cat "$1" | ems-restore --json --dsn "$0" -d bad -' "$dsn" "$2"
    json finding/code "$3"
}
sed '/^@two/,$d' good.sql >case.sql
lost 'cut between two rows' case.sql sql-truncated
perl -pe 's/^\@one/\@o\0ne/' good.sql >case.sql
lost 'a NUL byte in a row' case.sql sql-encoding
perl -pe 's/^(\@two\S+\t)0/$1\\./' good.sql >case.sql
lost 'a column that is the end mark' case.sql sql-malformed
sed '/^ALTER/,$d' good.sql >case.sql
lost 'no end: keys and closing comment missing' case.sql sql-truncated \
    "SELECT count(*) + 2 FROM pg_constraint WHERE conname = 'users_key'"
gzip </dev/null >empty.sql.gz
: >case.sql
psql -X -q -v ON_ERROR_STOP=1 -d lost -f case.sql && ok || no 'psql noticed the empty file'
check 'an empty dump' 1 ems-restore --json --dsn "$dsn" -d bad empty.sql.gz
json finding/code sql-empty
check 'an empty file' 3 ems-restore --json --dsn "$dsn" -d bad case.sql
json finding/code part-empty
psql -X -q -d postgres -c 'DROP DATABASE lost'
[ "$(objects)" = "$was" ] && ok || no "databases and roles at the end: $(objects)"
finish hostile
