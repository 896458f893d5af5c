--
-- PostgreSQL database dump
--

\restrict k3YhAndWr1tten

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: events; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.events (
    stream_ordering integer NOT NULL,
    event_id text NOT NULL,
    outlier boolean DEFAULT false NOT NULL,
    "json" text COLLATE pg_catalog."C", -- a comment that must not be sent
    /* and /* one */ more */
    depth bigint DEFAULT 0 NOT NULL,
    inserted_ts bigint DEFAULT (EXTRACT(epoch FROM now()) * (1000)::numeric),
    CONSTRAINT not_empty CHECK ((event_id <> ''::text))
)
WITH (fillfactor='90', autovacuum_enabled='false');


--
-- Name: instance_map; Type: TABLE; Schema: public; Owner: -
--

CREATE UNLOGGED TABLE public.instance_map (
    instance_id integer NOT NULL,
    lock character(1) DEFAULT 'X'::bpchar NOT NULL,
    keys text[],
    CONSTRAINT one_row CHECK ((lock = 'X'::bpchar))
);


CREATE TABLE public.profiles (
    user_id text,
    fields jsonb,
    filter_json bytea,
    vector tsvector
);


CREATE SEQUENCE public.instance_map_instance_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


ALTER SEQUENCE public.instance_map_instance_id_seq OWNED BY public.instance_map.instance_id;


ALTER TABLE public.events ALTER COLUMN stream_ordering ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.events_stream_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


COMMENT ON COLUMN public.events.depth IS 'how far it''s from the start;
"--" and /* are no comments here';


ALTER TABLE ONLY public.events ALTER COLUMN event_id SET (n_distinct=-0.5);


ALTER TABLE ONLY public.instance_map ALTER COLUMN instance_id SET DEFAULT nextval('public.instance_map_instance_id_seq'::regclass);


--
-- Data for Name: events; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.events (stream_ordering, event_id, outlier, "json", depth, inserted_ts) FROM stdin;
1	$one:example.org	f	{"body":"a \\"quoted\\" word\\n"}	1	1700000000000
2	$two:example.org	t	Привет, 世界 🙂 ‮bidi	2	\N
3	$three:example.org	f	\\.	3	\N
4	$four:example.org	f	tab \t back \b feed \f line \n return \r vertical \v	4	\N
5	$five:example.org	f	\\N ; DROP TABLE users; -- not SQL	5	\N
\.


--
-- Data for Name: instance_map; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.instance_map (instance_id, lock, keys) FROM stdin;
\.


COPY public.profiles (user_id, fields, filter_json, vector) FROM stdin;
$one:example.org	{"a": 1}	\\x7b7d	'word':1
\N	\N	\N	\N
$two:example.org	{}		
\.


SELECT pg_catalog.setval('public.events_stream_seq', 5, true);


ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (stream_ordering);


ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_event_id_key UNIQUE (event_id);


CREATE INDEX events_depth_idx ON public.events USING btree (depth DESC, event_id) WHERE (NOT outlier);


CREATE UNIQUE INDEX profiles_lower_idx ON public.profiles USING btree (lower(user_id)) WITH (fillfactor='70') WHERE (user_id IS NOT NULL);


CREATE INDEX profiles_fts_idx ON public.profiles USING gin (vector);


ALTER TABLE ONLY public.profiles
    ADD CONSTRAINT profiles_fkey FOREIGN KEY (user_id) REFERENCES public.events(event_id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;


ALTER TABLE public.profiles
    ADD CONSTRAINT user_id_not_null CHECK ((user_id IS NOT NULL)) NOT VALID;


ALTER TABLE public.events OWNER TO synapse;


GRANT SELECT ON TABLE public.events TO PUBLIC;


--
-- PostgreSQL database dump complete
--

\unrestrict k3YhAndWr1tten

