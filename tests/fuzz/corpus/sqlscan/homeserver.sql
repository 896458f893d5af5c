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
COPY public.background_updates (update_name, progress_json) FROM stdin;
one	{}
\.
COPY public.devices (user_id, device_id) FROM stdin;
@alice:example.org	D1
\.
COPY public.event_json (event_id, json) FROM stdin;
$1	{}
$2	{}
\.
COPY public.events (event_id, stream_ordering) FROM stdin;
$1	7
$2	-3
\.
COPY public.schema_compat_version (lock, compat_version) FROM stdin;
X	84
\.
COPY public.schema_version (lock, version, upgraded) FROM stdin;
X	92	t
\.
COPY public.applied_schema_deltas (version, file) FROM stdin;
92	92/04_thread.sql
\.
COPY public.stream_positions (stream_name, instance_name, stream_id) FROM stdin;
events	master	9
\.
COPY public.own (a) FROM stdin;
\.
COPY public.users (name, password_hash, is_guest, appservice_id, deactivated) FROM stdin;
@alice:example.org	$2b	0	\N	0
@17:other.org	\N	0	\N	0
\.
SELECT pg_catalog.setval('public.events_stream_seq', 7, false);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT u UNIQUE (name);
CREATE UNIQUE INDEX i ON public.events USING btree (stream_ordering DESC) WHERE (event_id IS NOT NULL);
ALTER TABLE public.events
    ADD CONSTRAINT odd CHECK ((event_id IS NOT NULL)) NOT VALID;
--
-- PostgreSQL database dump complete
--

