-- A transaction of the load that the WAL segments are made with.
\set account random(1, 100000)
\set n random(1, 1000000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 100000 = :account AND aid = :account + 100000 * (:n % :scale);
INSERT INTO events SELECT :n + i, gen_random_uuid(), now(), :n, concat_ws(' ', word(), word(), word(), word())
    FROM generate_series(1, 4) AS i;
COMMIT;
