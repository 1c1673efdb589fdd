# shellcheck shell=sh
# shellcheck disable=SC2016,SC2154 # commands for single segments are expanded late; here, work
# The cases: for each operation and tool a function OPERATION_TOOL, which finds
# what it needs in $repository, $config and $dest. Commands for single segments
# have the name in $f and the path in $p, and are run as a server runs them.

# cases lists operations and cases, the reference of each first. Tools that are
# not installed have none.
cases() {
    while read -r operation_ tools; do
        for tool in $tools; do
            case $tool in
                pgbackrest*) command -v pgbackrest >/dev/null || continue ;;
                *zstd) command -v zstd >/dev/null || continue ;;
            esac
            echo "$operation_ $tool"
        done
    done <<LIST
backup pgbackrest_2 pgbackrest_1 tar_zstd basebackup_zstd pgpipes_2 pgpipes_1
restore pgbackrest_2 pgbackrest_1 tar_zstd pgpipes_2 pgpipes_1
push pgbackrest zstd pgpipes pgpipes_zstd3
get pgbackrest zstd pgpipes pgpipes_zstd3
missing true pgbackrest pgpipes
LIST
}

not_there() {
    for command_ in pgbackrest zstd; do
        command -v "$command_" >/dev/null || echo "$command_ is not installed: none of its cases"
    done
}

# place CASE says where a case keeps things.
place() {
    bench=$PGPIPES_BENCH outline=$PGPIPES_BENCH/outline
    export repository="$bench/repository/$1" config="$bench/config/$1" dest="$bench/dest"
}

# ready OPERATION CASE prepares a run: this is not measured. What is to be read
# is what the last run has written; if there was none, it is written now.
ready() {
    place "$2"
    mkdir -p "$repository" "$config"
    case $1 in
        backup | push)
            rm -rf "$repository" && mkdir "$repository"
            configure "$1" "$2"
            ;;
        restore)
            written_by backup "$2"
            rm -rf "$dest" && mkdir -m 700 "$dest"
            ;;
        get | missing) [ "$2" = true ] || written_by push "$2" ;;
    esac
}

written_by() {
    [ -z "$(ls -A "$repository")" ] || return 0
    ready "$1" "$2"
    "$here/run" --case "$1" "$2"
}

configure() {
    case $2 in
        pgbackrest*) configure_pgbackrest "$1" "${2#pgbackrest}" ;;
        pgpipes*) repo init -r "$repository" -D "$PGDATA" ;;
    esac
}

# calls OPERATION prints how many calls are made in a run.
calls() {
    case $1 in
        push | get) set -- "$outline"/pg_wal/0* && echo $# ;;
        missing) echo 100 ;;
        *) echo 1 ;;
    esac
}

### One call for each segment

push_each() {
    cd "$outline" || exit
    for path in pg_wal/0*; do p=$path f=${path#pg_wal/} sh -c "$1"; done
}

# fetch_each COMMAND, always to the same path, as a server does that recovers.
fetch_each() {
    cd "$outline" || exit
    for path in pg_wal/0*; do
        rm -f pg_wal/RECOVERYXLOG
        p=pg_wal/RECOVERYXLOG f=${path#pg_wal/} sh -c "$1"
    done
    cmp "$path" pg_wal/RECOVERYXLOG
}

# fetch_missing STATUS COMMAND asks 50 times each for a segment and a history
# that are not there.
fetch_missing() {
    cd "$outline" || exit
    i=0
    while [ "$((i += 1))" -le 50 ]; do
        for f in 00000001000000FF00000042 00000002.history; do
            status_=0
            p=pg_wal/RECOVERYXLOG f=$f sh -c "$2" || status_=$?
            [ "$status_" -eq "$1" ]
        done
    done
}

missing_true() { fetch_missing 0 true; }

### pgpipes: default level with 2 cores and with 1; zstd3 is level 3

backup_pgpipes_1() { jobs=1 && backup_pgpipes; }
backup_pgpipes_2() { jobs=2 && backup_pgpipes; }
restore_pgpipes_1() { jobs=1 && restore_pgpipes; }
restore_pgpipes_2() { jobs=2 && restore_pgpipes; }
push_pgpipes() { push_each 'wal-push -r "$repository" "$p"'; }
push_pgpipes_zstd3() { push_each 'wal-push -l 3 -r "$repository" "$p"'; }
get_pgpipes() { fetch_each 'wal-get -r "$repository" "$f" "$p"'; }
get_pgpipes_zstd3() { get_pgpipes; }
missing_pgpipes() { fetch_missing 1 'wal-get -r "$repository" "$f" "$p"'; }

backup_pgpipes() {
    run_pipeline copy_out base-copy compress 'repo put'
    manifest seal "$work/manifest" <"$work/receipts" >"$work/sealed"
    repo put -r "$repository" base/b/manifest <"$work/sealed"
}
copy_out() {
    stage base-copy base-copy -D "$PGDATA" -r "$repository" --label b -m "$work/manifest" --fast --no-archive-check |
        stage compress compress -j "$jobs" |
        stage 'repo put' repo put -r "$repository" base/b/000.tar.zst >"$work/receipts"
}
restore_pgpipes() {
    repo get -r "$repository" base/b/manifest >"$work/manifest"
    run_pipeline copy_back 'repo get' base-restore
}
copy_back() {
    stage 'repo get' repo get -r "$repository" base/b/000.tar.zst |
        stage base-restore base-restore -D "$dest" -m "$work/manifest"
}

### pgBackRest: zst level 3, process-max 2 and 1

# configure_pgbackrest OPERATION [_PROCESSES]
configure_pgbackrest() {
    data=$PGDATA online=--online processes=${2#_}
    [ "$1" = backup ] || data=$outline online=--no-online
    cat >"$config/pgbackrest.conf" <<CONF
[global]
repo1-path=$repository
repo1-retention-full=2
lock-path=$config/lock
spool-path=$config/spool
log-path=$config
log-level-file=off
log-level-console=warn
compress-type=zst
compress-level=3
process-max=${processes:-1}
start-fast=y
[b]
pg1-path=$data
pg1-socket-path=$PGHOST
pg1-port=$PGPORT
CONF
    rest stanza-create "$online"
}
rest() { pgbackrest --config="$config/pgbackrest.conf" --stanza=b "$@"; }
backup_pgbackrest_1() { rest backup --type=full --no-archive-check; }
backup_pgbackrest_2() { backup_pgbackrest_1; }
restore_pgbackrest_1() { rest restore --pg1-path="$dest" --archive-mode=off --type=immediate; }
restore_pgbackrest_2() { restore_pgbackrest_1; }
rest_each='pgbackrest --config="$config/pgbackrest.conf" --stanza=b'
push_pgbackrest() { push_each "$rest_each"' archive-push "$p"'; }
get_pgbackrest() { fetch_each "$rest_each"' archive-get "$f" "$p"'; }
missing_pgbackrest() { fetch_missing 1 "$rest_each"' archive-get "$f" "$p"'; }

### tar, pg_basebackup and zstd: nothing is checked, but all is made durable

backup_tar_zstd() { run_pipeline tar_out tar zstd && sync "$repository"/*; }
tar_out() { stage tar tar -C "$PGDATA" --exclude ./pg_wal -cf - . | to_zstd; }
backup_basebackup_zstd() { run_pipeline base_out pg_basebackup zstd && sync "$repository"/*; }
base_out() { stage pg_basebackup pg_basebackup -Ft -D - -X none -c fast | to_zstd; }
to_zstd() { stage zstd zstd -q -3 -T2 >"$repository/base.tar.zst"; }
restore_tar_zstd() { run_pipeline tar_back zstd tar && sync -f "$dest"; }
tar_back() { stage zstd zstd -q -dc "$repository/base.tar.zst" | stage tar tar -C "$dest" -xf -; }
push_zstd() { push_each 't="$repository/$f.zst"; test ! -e "$t" && zstd -q -3 <"$p" >"$t.part" && sync "$t.part" && mv "$t.part" "$t" && sync "$repository"'; }
get_zstd() { fetch_each 'zstd -q -dc "$repository/$f.zst" >"$p"'; }
