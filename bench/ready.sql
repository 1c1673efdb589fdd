-- The segments that are complete, from :first on.
SELECT name FROM pg_ls_waldir()
WHERE name ~ '^[0-9A-F]{24}$' AND name >= :'first'
    AND name < pg_walfile_name(pg_current_wal_insert_lsn())
ORDER BY name;
