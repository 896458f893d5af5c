--
-- PostgreSQL database dump
--

SET client_encoding = 'UTF8';
CREATE DATABASE s WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE = 'de_DE.UTF-8';
SELECT pg_catalog.set_config('search_path', '', false);
CREATE SEQUENCE public.events_stream_seq;
CREATE TABLE public.background_updates (
    update_name text,
    progress_json text
);
CREATE TABLE public.devices (
    user_id text,
    device_id text
);
CREATE TABLE public.event_json (
    event_id text,
    json text
);
CREATE TABLE public.events (
    event_id text,
    stream_ordering text
);
CREATE TABLE public.schema_compat_version (
    lock text,
    compat_version text
);
CREATE TABLE public.schema_version (
    lock text,
    version text,
    upgraded text
);
CREATE TABLE public.applied_schema_deltas (
    version text,
    file text
);
CREATE TABLE public.stream_positions (
    stream_name text,
    instance_name text,
    stream_id text
);
CREATE TABLE public.own (
    a text
);
CREATE TABLE public.users (
    name text,
    password_hash text,
    is_guest text,
    appservice_id text,
    deactivated text
);
INSERT INTO public.background_updates VALUES
	('one', '{}');
INSERT INTO public.devices VALUES
	('@alice:example.org', 'D1');
INSERT INTO public.event_json VALUES
	('$1', '{}'),
	('$2', '{}');
INSERT INTO public.events VALUES
	('$1', 7),
	('$2', -3);
INSERT INTO public.schema_compat_version VALUES
	('X', 84);
INSERT INTO public.schema_version VALUES
	('X', 92, 't');
INSERT INTO public.applied_schema_deltas VALUES
	(92, '92/04_thread.sql');
INSERT INTO public.stream_positions VALUES
	('events', 'master', 9);
INSERT INTO public.users VALUES
	('@alice:example.org', '$2b', 0, NULL, 0),
	('@17:other.org', NULL, 0, NULL, 0);
SELECT pg_catalog.setval('public.events_stream_seq', 7, false);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT u UNIQUE (name);
CREATE UNIQUE INDEX i ON public.events USING btree (stream_ordering DESC) WHERE (event_id IS NOT NULL);
ALTER TABLE public.events
    ADD CONSTRAINT odd CHECK ((event_id IS NOT NULL)) NOT VALID;
--
-- PostgreSQL database dump complete
--

