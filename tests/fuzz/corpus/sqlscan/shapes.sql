--
-- PostgreSQL database dump
--
SELECT pg_catalog.set_config('search_path', '', false);
CREATE TABLE public.t (a text, b integer);
CREATE TABLE public.x (a "char" NOT NULL, e timestamp(3) with time zone DEFAULT CURRENT_TIMESTAMP, g numeric(10,2), j interval day to second(3), h text[] DEFAULT ARRAY['a'::text], b text GENERATED ALWAYS AS (lower((a)::text)) STORED, CONSTRAINT k CHECK (((a)::text = ANY ((ARRAY['x'::character varying])::text[]))), CONSTRAINT l CHECK ((CASE WHEN (a IS NULL) THEN 1 ELSE 0 END = 1)));
INSERT INTO public.x VALUES ('a', -1.5e-07, NULL, E'\\', B'01', false), (X'1f', DEFAULT, 1, 2, 3, 4) ON CONFLICT DO NOTHING;
CREATE INDEX i ON public.t USING btree (a COLLATE "C" text_pattern_ops DESC NULLS LAST, lower(a)) INCLUDE (b) WITH (fillfactor='90') WHERE ((a <> ''::text) AND (b IS NOT NULL));
COMMENT ON INDEX public.i IS 'a'
'b';
ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA public GRANT SELECT ON TABLES TO b;
ALTER TABLE ONLY public.t ADD CONSTRAINT p PRIMARY KEY (a, b) INCLUDE (a) DEFERRABLE;

COPY public.t (a) FROM stdin;
x
\.
--
-- PostgreSQL database dump complete
--

