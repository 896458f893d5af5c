\restrict a1
DROP DATABASE IF EXISTS d;
CREATE DATABASE d;
\unrestrict a1
\connect d
\restrict a1
CREATE TABLE public.t (a text);

COPY public.t (a) FROM stdin;
x
\.
--
-- PostgreSQL database dump complete
--

\unrestrict a1

