--
-- PostgreSQL database dump
--

-- Dumped from database version 9.6.1
-- Dumped by pg_dump version 9.6.1

SET statement_timeout = 0;
SET lock_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET check_function_bodies = false;
SET client_min_messages = warning;

--
-- Name: plpgsql; Type: EXTENSION; Schema: -; Owner: 
--

CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog;


COMMENT ON EXTENSION plpgsql IS 'PL/pgSQL procedural language';


SET search_path = public, pg_catalog;

SET default_tablespace = '';

SET default_with_oids = false;

CREATE TABLE "Rooms" (
    room_id text NOT NULL,
    "Is Public" boolean,
    n smallint DEFAULT '-1'::integer
);


CREATE SEQUENCE room_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


ALTER SEQUENCE room_seq OWNED BY "Rooms".n;


ALTER TABLE ONLY "Rooms" ALTER COLUMN n SET DEFAULT nextval('room_seq'::regclass);


INSERT INTO "Rooms" VALUES ('!a''b;c--d:example.org', true, -1);
INSERT INTO "Rooms" VALUES ('two
lines', NULL, 32767), (E'an \'escape\\', false, NULL) ON CONFLICT DO NOTHING;
INSERT INTO "Rooms" (room_id, n) VALUES ('!list', DEFAULT);


SELECT pg_catalog.setval('room_seq', 1, false);


ALTER TABLE ONLY "Rooms"
    ADD CONSTRAINT rooms_pkey PRIMARY KEY (room_id);


COMMENT ON TABLE "Rooms" IS NULL;


REVOKE ALL ON SCHEMA public FROM PUBLIC;


--
-- PostgreSQL database dump complete
--

