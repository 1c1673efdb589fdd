-- Rows with a random id, a number and some words. Wants :rows.
CREATE FUNCTION word() RETURNS text VOLATILE LANGUAGE sql AS
    $$ SELECT substr(md5(floor(random() * 3000)::text), 1, 3 + floor(random() * 7)::int) $$;
CREATE TABLE events AS
    SELECT n, gen_random_uuid() AS id, now() - n * interval '1 s' AS at, (random() * 1e6)::numeric(12, 2) AS amount,
        concat_ws(' ', word(), word(), word(), word(), word(), word(), word(), word()) AS note
    FROM generate_series(1, :rows) AS n;
CREATE UNIQUE INDEX ON events (id);
