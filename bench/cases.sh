# shellcheck shell=sh
# The cases: for each operation and tool a function OPERATION_TOOL, which is run
# with the tool's $repository. Commands for single segments get their name in
# $f and their path in $p, and are run as the server would run them.
# shellcheck disable=SC2154 # bench and outline are set by bench/run

# all_cases prints lines of an operation and a case, without tools that are not
# installed.
all_cases() {
    while read -r operation tools; do
        for tool in $tools; do
            command -v "$(needs "$tool")" >/dev/null && echo "$operation $tool"
        done
    done <<LIST
backup pgbackrest_2 pgbackrest_1 tar_zstd basebackup_zstd pgpipes_2 pgpipes_1 pgpipes_fast
restore pgbackrest_2 pgbackrest_1 tar_zstd pgpipes_2 pgpipes_1 pgpipes_fast
push pgbackrest zstd pgpipes pgpipes_fast
get pgbackrest zstd pgpipes pgpipes_fast
missing true pgbackrest pgpipes
LIST
}

# needs TOOL prints the command without which it has no cases.
needs() {
    case $1 in
        pgbackrest*) echo pgbackrest ;;
        *zstd) echo zstd ;;
        *) echo true ;;
    esac
}

# not_there says what is not compared.
not_there() {
    for command_ in pgbackrest zstd; do
        command -v "$command_" >/dev/null || echo "$command_ is not installed: without its cases"
    done
}

# place CASE sets where a case keeps things.
place() {
    repository=$bench/repository/$1 config=$bench/config/$1 dest=$bench/dest
    export repository config dest
}

# ready OPERATION CASE prepares a run; this is not measured.
ready() {
    place "$2"
    mkdir -p "$bench/repository" "$config"
    case $1 in
        backup | push)
            rm -rf "$repository" && mkdir "$repository"
            configure "$1" "$2"
            ;;
        restore) rm -rf "$dest" && mkdir -m 700 "$dest" ;;
    esac
    case $1 in
        restore) [ -n "$(ls -A "$repository" 2>/dev/null)" ] || { ready backup "$2" && "$here/one" backup "$2"; } ;;
        get | missing) [ "$2" = true ] || [ -n "$(ls -A "$repository" 2>/dev/null)" ] || { ready push "$2" && "$here/one" push "$2"; } ;;
    esac
}

# configure OPERATION CASE
configure() {
    case $2 in
        pgbackrest*) configure_pgbackrest "$1" "${2#pgbackrest}" ;;
        pgpipes*) repo init -r "$repository" -D "$PGDATA" ;;
    esac
}

# calls OPERATION prints how many calls a run of it makes.
calls() {
    case $1 in
        push | get) find "$outline/pg_wal" -name '0*' | wc -l ;;
        missing) echo 100 ;;
        *) echo 1 ;;
    esac
}

### One call for each segment

# for_each_segment COMMAND
for_each_segment() {
    cd "$outline"
    for p in pg_wal/0*; do
        p=$p f=${p#pg_wal/} sh -c "$1"
    done
}

# fetch_each COMMAND, as a server does that recovers, always to the same path.
fetch_each() {
    cd "$outline"
    for f in pg_wal/0*; do
        rm -f pg_wal/RECOVERYXLOG
        p=pg_wal/RECOVERYXLOG f=${f#pg_wal/} sh -c "$1"
    done
    cmp "$f" pg_wal/RECOVERYXLOG
}

# fetch_missing STATUS COMMAND asks 50 times each for a segment and a history
# that are not there.
fetch_missing() {
    cd "$outline"
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

### pgpipes: default level, 2 or 1 cores; fast is level 1

pgpipes_backup() {
    level=$2 jobs=$1
    run_pipeline pgpipes_copy base-copy compress 'repo put'
    manifest seal "$work/manifest" <"$work/receipts" | repo put -r "$repository" base/b/manifest
}
pgpipes_copy() {
    stage base-copy base-copy -D "$PGDATA" -r "$repository" --label b -m "$work/manifest" --fast --no-archive-check |
        stage compress compress -l "$level" -j "$jobs" |
        stage 'repo put' repo put -r "$repository" base/b/000.tar.zst >"$work/receipts"
}
pgpipes_restore() {
    jobs=$1
    repo get -r "$repository" base/b/manifest >"$work/manifest"
    run_pipeline pgpipes_lay_out 'repo get' compress base-restore
}
pgpipes_lay_out() {
    stage 'repo get' repo get -r "$repository" base/b/000.tar.zst |
        stage compress compress -d -j "$jobs" |
        stage base-restore base-restore -D "$dest" -m "$work/manifest"
}
backup_pgpipes_2() { pgpipes_backup 2 3; }
backup_pgpipes_1() { pgpipes_backup 1 3; }
backup_pgpipes_fast() { pgpipes_backup 2 1; }
restore_pgpipes_2() { pgpipes_restore 2; }
restore_pgpipes_1() { pgpipes_restore 1; }
restore_pgpipes_fast() { pgpipes_restore 2; }
# shellcheck disable=SC2016 # expanded by each command's own shell
{
    push_pgpipes() { for_each_segment 'wal-push -r "$repository" "$p"'; }
    push_pgpipes_fast() { for_each_segment 'wal-push -l 1 -r "$repository" "$p"'; }
    get_pgpipes() { fetch_each 'wal-get -r "$repository" "$f" "$p"'; }
    get_pgpipes_fast() { get_pgpipes; }
    missing_pgpipes() { fetch_missing 1 'wal-get -r "$repository" "$f" "$p"'; }
}

### pgBackRest: zst level 3, 2 or 1 processes

configure_pgbackrest() {
    data=$PGDATA online=''
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
process-max=${2:+${2#_}}
start-fast=y
[b]
pg1-path=$data
pg1-socket-path=$PGHOST
pg1-port=$PGPORT
CONF
    sed -i '/^process-max=$/d' "$config/pgbackrest.conf"
    rest stanza-create $online
}
rest() { pgbackrest --config="$config/pgbackrest.conf" --stanza=b "$@"; }
backup_pgbackrest_2() { rest backup --type=full --no-archive-check; }
backup_pgbackrest_1() { backup_pgbackrest_2; }
restore_pgbackrest_2() { rest restore --pg1-path="$dest" --archive-mode=off --type=immediate; }
restore_pgbackrest_1() { restore_pgbackrest_2; }
# shellcheck disable=SC2016
{
    push_pgbackrest() { for_each_segment 'pgbackrest --config="$config/pgbackrest.conf" --stanza=b archive-push "$p"'; }
    get_pgbackrest() { fetch_each 'pgbackrest --config="$config/pgbackrest.conf" --stanza=b archive-get "$f" "$p"'; }
    missing_pgbackrest() { fetch_missing 1 'pgbackrest --config="$config/pgbackrest.conf" --stanza=b archive-get "$f" "$p"'; }
}

### tar, pg_basebackup and zstd: no checks, but nothing is left in memory

to_zstd() {
    stage zstd zstd -q -3 -T2 >"$repository/base.tar.zst"
    sync "$repository/base.tar.zst" "$repository"
}
tar_data() { stage tar tar -C "$PGDATA" --exclude ./pg_wal -cf - . | to_zstd; }
base_data() { stage pg_basebackup pg_basebackup -Ft -D - -X none -c fast | to_zstd; }
untar() { stage zstd zstd -q -dc "$repository/base.tar.zst" | stage tar tar -C "$dest" -xf -; }
backup_tar_zstd() { run_pipeline tar_data tar zstd; }
backup_basebackup_zstd() { run_pipeline base_data pg_basebackup zstd; }
restore_tar_zstd() { run_pipeline untar zstd tar && sync -f "$dest"; }
# shellcheck disable=SC2016
{
    push_zstd() { for_each_segment 't="$repository/$f.zst"; test ! -e "$t" && zstd -q -3 <"$p" >"$t.part" && sync "$t.part" && mv "$t.part" "$t" && sync "$repository"'; }
    get_zstd() { fetch_each 'zstd -q -dc "$repository/$f.zst" >"$p"'; }
}
