--
-- PostgreSQL database dump
--
SELECT pg_catalog.set_config('search_path', '', false);
CREATE FUNCTION public.check_partial_state_events() RETURNS trigger LANGUAGE plpgsql AS $_$BEGIN /* x */ RETURN NEW; END$_$;

COPY public.t (a) FROM stdin;
x
\.
--
-- PostgreSQL database dump complete
--

