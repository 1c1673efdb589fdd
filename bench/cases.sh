# shellcheck shell=sh
# shellcheck disable=SC2016,SC2154 # commands for WAL files are expanded late; here, work
# The cases. For backup and restore each tool has a function OPERATION_TOOL,
# which finds what it needs in $repository, $config and $dest. For WAL files it
# has an archive_command and a restore_command, which are run as a server does.

# cases lists operations and cases, the reference of each first. Tools that are
# not installed have none.
cases() {
    while read -r operation_ tools; do
        for tool in $tools; do
            case $tool in
                pgbackrest* | kept_pgbackrest*) command -v pgbackrest >/dev/null || continue ;;
                walg) command -v wal-g >/dev/null || continue ;;
                *zstd) command -v zstd >/dev/null || continue ;;
            esac
            echo "$operation_ $tool"
        done
    done <<LIST
backup pgbackrest_2 pgbackrest_bundle_2 pgbackrest_1 tar_zstd basebackup_zstd cp pgpipes_3 pgpipes_2 pgpipes_1 pgpipes_stream pgpipes_with_zstd
restore pgbackrest_2 pgbackrest_bundle_2 pgbackrest_1 tar_zstd cp pgpipes_3 pgpipes_2 pgpipes_1
same pgbackrest_2 pgbackrest_bundle_2 pgpipes_3 pgpipes_2
touched pgbackrest_2 pgbackrest_bundle_2 pgpipes_3 pgpipes_2
backlog pgbackrest_async_2 pgbackrest_async_1 pgbackrest walg zstd cp pgpipes pgpipes_zstd3 pgpipes_alone
trickle pgbackrest_async_2 pgbackrest_async_1 pgbackrest walg zstd cp pgpipes pgpipes_alone
get pgbackrest_async_2 pgbackrest_async_1 pgbackrest walg zstd cp pgpipes pgpipes_alone
replay pgbackrest_async_2 pgbackrest_async_1 pgbackrest walg zstd cp pgpipes pgpipes_alone
missing true pgbackrest walg pgpipes
put scp_1 scp_2 synced_sftp_1 synced_sftp_2 pgpipes_sftp_1 pgpipes_sftp_2 pgpipes_s3_1
fetch scp_1 scp_2 pgpipes_sftp_1 pgpipes_sftp_2 pgpipes_s3_1
far_backup pgbackrest_s3 pgpipes_s3 pgpipes_sftp
far_restore pgbackrest_s3 pgpipes_s3 pgpipes_sftp
far_backlog pgbackrest_async_s3 pgbackrest_s3 pgpipes_s3 pgpipes_sftp
far_get pgbackrest_async_s3 pgbackrest_s3 pgpipes_s3 pgpipes_sftp
verify kept_two_zstd kept_zstd kept_hashed_zstd kept_pgbackrest kept_pgpipes kept_alone kept_quick
list kept_pgbackrest kept_pgpipes
expire kept_pgbackrest kept_pgpipes
LIST
}

not_there() {
    for command_ in pgbackrest wal-g zstd; do
        command -v "$command_" >/dev/null || echo "$command_ is not installed: none of its cases"
    done
}

# place CASE says where a case keeps things.
place() {
    bench=$PGPIPES_BENCH case=$1 place_=$1
    case $1 in kept_pgbackrest) ;; kept_*) place_=kept_pgpipes ;; esac
    repository=$bench/repository/$(bucket "$place_")
    export repository config="$bench/config/$place_" dest="$bench/dest"
    location=$(location "$1")
    export location outline="$bench/outline" wal="$bench/wal" PGPIPES_STATE="$bench/config/$1/state"
}

# ready OPERATION CASE prepares a run: this is not measured. What is to be read
# is what the last run has written; if there was none, it is written now.
ready() {
    place "$2"
    mkdir -p "$repository" "$config"
    case $1 in
        *backup | *backlog | trickle | put)
            make_blob
            rm -rf "$repository" "$config" && mkdir "$repository" "$config"
            configure "$1" "$2"
            ;;
        *restore | fetch)
            written_by "$(echo "$1" | sed 's/restore/backup/; s/fetch/put/')" "$2"
            remove_dest
            mkdir -m 700 "$dest"
            ;;
        same | touched)
            ready restore "$2"
            "$here/run" --case restore "$2"
            [ "$1" = same ] || touch_some
            ;;
        far_get) written_by far_backlog "$2" ;;
        verify | list | expire) keep_two ;;
        *) [ "$2" = true ] || written_by backlog "$2" ;;
    esac
    is_whole "$1" || lay_out "$1"
}

# is_whole OPERATION says whether it is measured as a whole, not call by call.
is_whole() {
    case $1 in *backup | *restore | same | touched | put | fetch | verify | list | expire) ;; *) return 1 ;; esac
}

# remove_dest waits until the file system has forgotten what was in it: for 5
# seconds ext4 passes over each freed inode whenever it looks for one
# (ialloc.c:recently_deleted), which cost whoever came next up to a fifth.
remove_dest() {
    [ -e "$dest" ] || return 0
    rm -rf "$dest"
    sync
    sleep 6
}

# touch_some changes a byte in one of a hundred files that were restored.
touch_some() {
    find "$dest/base" -type f -size +15 | LC_ALL=C sort | awk 'NR % 100 == 1' |
        while read -r file_; do printf x | dd of="$file_" bs=1 seek=5000 conv=notrunc status=none; done
}

written_by() {
    [ -z "$(ls -A "$repository")" ] || return 0
    ready "$1" "$2"
    "$here/run" --case "$1" "$2"
}

# lay_out OPERATION makes what looks like the data directory of a server: one
# that has nothing archived yet, or one that begins to recover.
lay_out() {
    rm -rf "$outline/pg_wal" "$config/spool" "$PGPIPES_STATE"
    mkdir -p "$outline/pg_wal/archive_status" "$config/spool"
    case $1 in *backlog | trickle) ln "$wal"/0* "$outline/pg_wal/" ;; esac
    case $1 in *backlog) ;; *) return ;; esac
    (cd "$wal" && for f in 0*; do : >"$outline/pg_wal/archive_status/$f.ready"; done)
}

configure() {
    case $2 in
        pgbackrest*) configure_pgbackrest "$1" "${2#pgbackrest}" ;;
        pgpipes*) repo init -r "$location" -D "$PGDATA" ;;
    esac
}

### WAL files, one call for each

# wal_files OPERATION CASE has calls play the server.
wal_files() {
    cd "$outline" || exit
    case $1 in
        backlog | far_backlog) push_each "$2" ;;
        trickle) push_each "$2" -pause 50ms ;;
        get | far_get) fetch_each "$2" -like "$wal" ;;
        replay) fetch_each "$2" -like "$wal" -pause 60ms ;;
        missing) fetch_missing "$2" ;;
    esac
}

# push_each CASE [OPTION OF CALLS]…
push_each() {
    command_=$(archive_command "$1")
    shift
    # shellcheck disable=SC2046 # lists of names, here and below
    calls -o "$bench/measured" "$@" push "$command_" $(ls "$wal")
}

fetch_each() {
    command_=$(restore_command "$1")
    shift
    # shellcheck disable=SC2046
    calls -o "$bench/measured" "$@" get "$command_" $(ls "$wal")
}

# fetch_missing CASE asks 50 times each for a segment and a history that are not
# there.
fetch_missing() {
    status_=1
    [ "$1" != true ] || status_=0
    # shellcheck disable=SC2046
    calls -o "$bench/measured" -status "$status_" get "$(restore_command "$1")" \
        $(yes 00000001000000FF00000042 00000002.history | head -n 50)
}

archive_command() {
    case $1 in
        pgbackrest*) echo "$rest_each archive-push %p" ;;
        walg) echo "$walg_each wal-push %p" ;;
        zstd) echo 't="$repository/%f.zst"; test ! -e "$t" && zstd -q -3 <%p >"$t.part" && '"$publish" ;;
        cp) echo 't="$repository/%f"; test ! -e "$t" && cp %p "$t.part" && '"$publish" ;;
        pgpipes_zstd3) echo 'wal-push -l 3 -r "$location" %p' ;;
        pgpipes_alone) echo 'wal-push --ahead 0 -r "$location" %p' ;;
        pgpipes*) echo 'wal-push -r "$location" %p' ;;
    esac
}

restore_command() {
    case $1 in
        true) echo true ;;
        pgbackrest*) echo "$rest_each archive-get %f %p" ;;
        walg) echo "$walg_each wal-fetch %f %p || exit 1" ;;
        zstd) echo 'zstd -q -dc "$repository/%f.zst" >%p' ;;
        cp) echo 'cp "$repository/%f" %p' ;;
        pgpipes_alone) echo 'wal-get --ahead 0 -r "$location" %f %p' ;;
        pgpipes*) echo 'wal-get -r "$location" %f %p' ;;
    esac
}

rest_each='pgbackrest --config="$config/pgbackrest.conf" --stanza=b'
walg_each='WALG_FILE_PREFIX="$repository" WALG_COMPRESSION_METHOD=zstd PGDATA="$outline" wal-g'
publish='sync "$t.part" && mv "$t.part" "$t" && sync "$repository"'

### pgpipes: default level, so many parts at once, or one stream on all cores

backup_pgpipes_1() { jobs=1 && backup_pgpipes; }
backup_pgpipes_2() { jobs=2 && backup_pgpipes; }
backup_pgpipes_3() { jobs=3 && backup_pgpipes; }
restore_pgpipes_1() { jobs=1 && restore_pgpipes; }
restore_pgpipes_2() { jobs=2 && restore_pgpipes; }
restore_pgpipes_3() { jobs=3 && restore_pgpipes; }
same_pgpipes_2() { jobs=2 && restore_pgpipes --delta; }
same_pgpipes_3() { jobs=3 && restore_pgpipes --delta; }
far_backup_pgpipes_s3() { jobs=2 && backup_pgpipes; }
far_backup_pgpipes_sftp() { jobs=2 && backup_pgpipes; }
far_restore_pgpipes_s3() { jobs=2 && restore_pgpipes; }
far_restore_pgpipes_sftp() { jobs=2 && restore_pgpipes; }
touched_pgpipes_2() { same_pgpipes_2; }
touched_pgpipes_3() { same_pgpipes_3; }

backup_pgpipes() {
    base-copy -D "$PGDATA" -r "$location" --label b -m "$work/manifest" --fast --no-archive-check -j "$jobs" \
        --filter 'exec repo put -r "$location" -c zstd -j 1 "base/$LABEL/$PART.tar.zst"'
    repo put -r "$location" base/b/manifest <"$work/manifest"
}
restore_pgpipes() {
    repo get -r "$location" base/b/manifest >"$work/manifest"
    base-restore -D "$dest" -m "$work/manifest" -j "$jobs" --source 'exec repo get -r "$location" "$KEY"' "$@"
}
backup_pgpipes_stream() {
    run_pipeline copy_out base-copy compress 'repo put'
    manifest seal "$work/manifest" <"$work/receipts" >"$work/sealed"
    repo put -r "$location" base/b/manifest <"$work/sealed"
}
copy_out() {
    stage base-copy base-copy -D "$PGDATA" -r "$location" --label b -m "$work/manifest" --fast --no-archive-check |
        stage compress compress |
        stage 'repo put' repo put -r "$location" base/b/000.tar.zst >"$work/receipts"
}

# with_zstd has another program compress.
backup_pgpipes_with_zstd() {
    base-copy -D "$PGDATA" -r "$location" --label b -m "$work/manifest" --fast --no-archive-check -j 2 \
        --filter 'zstd -q -3 -c | repo put -r "$location" "base/$LABEL/$PART.tar.zst"'
    repo put -r "$location" base/b/manifest <"$work/manifest"
}

### Two backups, the WAL between them, and what looks at those

# keep_two makes the repository, once, and a copy of it for expire.
keep_two() {
    if [ ! -e "$config/kept" ]; then
        mkdir -p "$config"
        fill && : >"$config/kept" || return
    fi
    rm -rf "$repository.copy"
    cp -a "$repository" "$repository.copy"
}

fill() {
    case $case in
        kept_pgbackrest) configure_pgbackrest backup _2 ;;
        *) repo init -r "$repository" -D "$PGDATA" ;;
    esac &&
        archive "$(archive_command "${place_#kept_}" | expand)" &&
        keep_one first &&
        work_on &&
        keep_one second &&
        archive true
}

# archive COMMAND has the server archive with it.
archive() { query "ALTER SYSTEM SET archive_command = '$1'" && query 'SELECT pg_reload_conf()'; }

# work_on has the server archive as many segments as were asked for.
work_on() {
    enough_=$(($(archived) + segments))
    until [ "$(archived)" -ge "$enough_" ]; do
        pgbench -n -c 2 -T 1 -f "$bench/load.sql" || return
        [ "$(query 'SELECT failed_count FROM pg_stat_archiver')" -eq 0 ] || return
    done
}

# expand puts in for the server what it does not have in its environment.
expand() { sed "s|[\$]config|$config|; s|[\$]location|$repository|; s|\"||g"; }

archived() { query 'SELECT archived_count FROM pg_stat_archiver'; }

keep_one() {
    case $case in
        kept_pgbackrest) rest backup --type=full ;;
        *) "$here/../scripts/backup" -r "$repository" --label "$1" --fast -j 2 ;;
    esac
}

verify_kept_pgpipes() { manifest verify -r "$repository"; }
verify_kept_alone() { manifest verify -r "$repository" -j 1; }
verify_kept_quick() { manifest verify --quick -r "$repository"; }
verify_kept_pgbackrest() { rest verify; }
verify_kept_zstd() { stored | xargs -0 zstd -tq; }
verify_kept_two_zstd() { stored | xargs -0 -n 4 -P 2 zstd -tq; }
verify_kept_hashed_zstd() { stored | xargs -0 -n 4 -P 2 sh -c 'zstd -qdc "$@" | sha256sum' sh; }
stored() { find "$repository" -name '*.zst' -print0 | LC_ALL=C sort -z; }
list_kept_pgpipes() { manifest list -r "$repository"; }
list_kept_pgbackrest() { rest info; }
expire_kept_pgpipes() { expire -r "$repository.copy" --keep-last 1; }
expire_kept_pgbackrest() { rest expire --repo1-path="$repository.copy" --repo1-retention-full=1; }

### pgBackRest: zst level 3, process-max 2 and 1

# configure_pgbackrest OPERATION [_async][_PROCESSES]
configure_pgbackrest() {
    data=$PGDATA online=--online async=n bundle=n processes=${2##*_} storage=
    case $2 in *_s3) processes=2 storage=$(pgbackrest_s3) ;; esac
    [ "$1" = backup ] || [ "$1" = far_backup ] || data=$outline online=--no-online
    case $2 in _async*) async=y ;; _bundle*) bundle=y ;; esac
    cat >"$config/pgbackrest.conf" <<CONF
[global]
repo1-path=$([ -n "$storage" ] && echo /pg || echo "$repository")
repo1-retention-full=2
repo1-bundle=$bundle
lock-path=$config/lock
spool-path=$config/spool
log-path=$config
log-level-file=off
log-level-console=warn
compress-type=zst
compress-level=3
process-max=${processes:-1}
archive-async=$async
archive-get-queue-max=512MiB
start-fast=y
$storage
[b]
pg1-path=$data
pg1-socket-path=$PGHOST
pg1-port=$PGPORT
CONF
    rest stanza-create "$online"
}
pgbackrest_s3() {
    cat <<CONF
repo1-type=s3
repo1-s3-bucket=$(bucket "$case")
repo1-s3-endpoint=localhost
repo1-s3-region=us-east-1
repo1-s3-uri-style=path
repo1-s3-key=bench
repo1-s3-key-secret=$s3_secret
repo1-storage-port=$s3_port
repo1-storage-ca-file=$bench/s3/cert.pem
CONF
}
rest() { pgbackrest --config="$config/pgbackrest.conf" --stanza=b "$@"; }
backup_pgbackrest_1() { rest backup --type=full --no-archive-check; }
backup_pgbackrest_2() { backup_pgbackrest_1; }
restore_pgbackrest_1() { rest restore --pg1-path="$dest" --archive-mode=off --type=immediate; }
far_backup_pgbackrest_s3() { backup_pgbackrest_1; }
far_restore_pgbackrest_s3() { restore_pgbackrest_1; }
backup_pgbackrest_bundle_2() { backup_pgbackrest_1; }
restore_pgbackrest_2() { restore_pgbackrest_1; }
restore_pgbackrest_bundle_2() { restore_pgbackrest_1; }
same_pgbackrest_2() { rest restore --pg1-path="$dest" --archive-mode=off --type=immediate --delta; }
same_pgbackrest_bundle_2() { same_pgbackrest_2; }
touched_pgbackrest_2() { same_pgbackrest_2; }
touched_pgbackrest_bundle_2() { same_pgbackrest_2; }

### tar, cp, pg_basebackup and zstd: nothing is checked, but all is made durable

backup_tar_zstd() { run_pipeline tar_out tar zstd && sync "$repository"/*; }
tar_out() { stage tar tar -C "$PGDATA" --exclude ./pg_wal -cf - . | to_zstd; }
backup_basebackup_zstd() { run_pipeline base_out pg_basebackup zstd && sync "$repository"/*; }
base_out() { stage pg_basebackup pg_basebackup -Ft -D - -X none -c fast | to_zstd; }
to_zstd() { stage zstd zstd -q -3 -T2 >"$repository/base.tar.zst"; }
backup_cp() { mkdir "$repository/data" && (cd "$PGDATA" && find . -maxdepth 1 -mindepth 1 ! -name pg_wal -exec cp -a {} "$repository/data/" ';') && sync -f "$repository"; }
restore_cp() { cp -a "$repository/data/." "$dest" && sync -f "$dest"; }
restore_tar_zstd() { run_pipeline tar_back zstd tar && sync -f "$dest"; }
tar_back() { stage zstd zstd -q -dc "$repository/base.tar.zst" | stage tar tar -C "$dest" -xf -; }
