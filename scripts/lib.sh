# shellcheck shell=sh
# What the scripts share: finding the programs, messages and statuses, options
# and settings, signals, and pipelines of which every stage's status counts.
#
# A script sets $here to its own directory before it sources this. It may
# define undo, which is run when it ends, however it ends.
# shellcheck disable=SC2154 # here

program=${0##*/}
verbose=  # see heed_verbose
work=     # a directory for temporary files, see begin
pipeline= # process id of the running pipeline
others=   # of several repositories all but $repository, as words for eval

# Who starts a script may have closed what it writes messages to, or its input:
# stages duplicate both.
true 4>&2 || exec 2>/dev/null
{ true 3<&0; } 2>/dev/null || exec </dev/null

# The programs that lie beside the script, or in bin of a source tree, come
# before others of the same name.
if [ -x "$here/wal-push" ]; then
    PATH=$here:$PATH
else
    PATH=$here:$(dirname "$here")/bin:$PATH
fi
export PATH

### Messages and statuses: 0 done, 1 no, 100 usage, 111 failure

warn() { printf '%s: %s\n' "$program" "$*" >&2; }
hint() { warn "hint: $*"; }
verbose() { [ -z "$verbose" ] || warn "$*"; }

# heed_verbose takes PGPIPES_VERBOSE for what the programs take it for.
heed_verbose() {
    case ${PGPIPES_VERBOSE:-} in
        '' | 0 | [fF] | false | False | FALSE) ;;
        1 | [tT] | true | True | TRUE) verbose=1 ;;
        *) usage_error "PGPIPES_VERBOSE is $PGPIPES_VERBOSE: neither 1 nor 0" ;;
    esac
}

# die STATUS MESSAGE…
die() {
    status_=$1
    shift
    warn "$@"
    exit "$status_"
}

usage_error() { die 100 "$@"; }

# help prints the comment at the head of the script.
help() { sed -n '2,/^[^#]/ { /^#/ s/^#\{1,\} \{0,1\}//p; }' "$here/$1"; }

### Options and settings

# need OPTION [VALUE]… ends the script when an option is the last word, or its value
# is empty, as that of a variable that was never set.
need() { [ -n "${2:-}" ] || usage_error "$1 needs a value"; }

# load_settings FILE sets PGPIPES_NAME=value lines where the environment has
# no such setting.
load_settings() {
    [ -r "$1" ] || usage_error "$1: no such file, or not readable"
    while IFS= read -r line_ || [ -n "$line_" ]; do
        case $line_ in
            PGPIPES_*=?*) set_default "${line_%%=*}" "${line_#*=}" ;;
            '' | '#'*) ;;
            *) usage_error "$1: not a line PGPIPES_NAME=value: $line_" ;;
        esac
    done <"$1"
    PGPIPES_CONFIG=$(absolute "$1")
    export PGPIPES_CONFIG
}

set_default() {
    case $1 in *[!A-Z_]*) usage_error "not a name of a setting: $1" ;; esac
    eval "[ -n \"\${$1:-}\" ] || export $1=\"\$2\""
}

# want_repository ends the script unless $repository says where to.
want_repository() {
    want_repositories
    [ -z "$others" ] || usage_error 'one repository at a time'
}

# add_repository LOCATION keeps it: the first one is $repository.
add_repository() {
    if [ -z "$repository" ]; then repository=$1; else others="$others $(shell_quote "$1")"; fi
}

# want_repositories does so where there may be several. In the environment they are
# separated by commas.
want_repositories() {
    rest_=
    [ -n "$repository" ] || rest_=${PGPIPES_REPOSITORY:-}
    while [ -n "$rest_" ]; do
        [ -z "${rest_%%,*}" ] || add_repository "${rest_%%,*}"
        case $rest_ in *,*) rest_=${rest_#*,} ;; *) rest_= ;; esac
    done
    [ -n "$repository" ] || {
        warn 'which repository?'
        hint 'give -r DIR, or set PGPIPES_REPOSITORY'
        exit 100
    }
}

# for_each COMMAND WORD… runs COMMAND with each word.
for_each() {
    each_=$1
    shift
    for word_ in "$@"; do "$each_" "$word_"; done
}

# for_repositories COMMAND runs it with each repository.
for_repositories() { eval "for_each $1 $(shell_quote "$repository") $others"; }

# put_first LOCATION makes this one of the repositories $repository.
put_first() {
    eval "set -- $(shell_quote "$1") $(shell_quote "$repository") $others"
    repository=$1 others=
    shift
    for word_ in "$@"; do
        [ "$word_" = "$repository" ] || add_repository "$word_"
    done
}

# shell_quote WORD prints it as one word of a shell command.
shell_quote() { printf "'%s'\n" "$(printf '%s\n' "$1" | sed "s/'/'\\\\''/g")"; }

# plain VALUE WHAT refuses what no setting of the server can hold.
plain() {
    case $1 in
        *[[:cntrl:]]*) usage_error "$2 must not contain control characters" ;;
    esac
}

# absolute PLACE prints a path or a location without depending on the current
# directory.
absolute() {
    case $1 in
        /* | *://*) printf '%s\n' "$1" ;;
        *)
            here_=$(pwd) || here_=
            [ -d "$here_" ] || die 111 "$1: relative to a current directory that is gone"
            printf '%s/%s\n' "$here_" "$1"
            ;;
    esac
}

# decimal_timeline TIMELINE prints it as the server takes it: to that, digits
# that begin with 0 would be octal.
decimal_timeline() {
    case $1 in
        '') ;;
        [0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f])
            printf '%d\n' "0x$1"
            ;;
        0* | *[!0-9]*) usage_error "$1: not a timeline (a number, or 8 hex digits)" ;;
        *) printf '%s\n' "$1" ;;
    esac
}

### The end of the script, by itself or by a signal

# begin makes $work unless it is set already; it goes when the script ends.
begin() {
    heed_verbose
    trap 'cleanup "$?"; exit "$ended"' EXIT
    for signal_ in HUP=1 INT=2 QUIT=3 PIPE=13 TERM=15; do
        # shellcheck disable=SC2064 # the name is meant to be expanded now
        trap "die_of ${signal_%=*} $((128 + ${signal_#*=}))" "${signal_%=*}"
    done
    [ -n "$work" ] || work=$(umask 077 && mktemp -d "${TMPDIR:-/tmp}/pgpipes-${program#pgpipes-}.XXXXXX") ||
        die 111 'there is no place for temporary files'
}

undo() { :; }

# cleanup STATUS leaves the status of the script in $ended for undo, which may set
# it. In the trap of a signal $? is that of the command before, which may be 0.
cleanup() {
    ended=$1
    set +e
    trap - EXIT
    trap '' HUP INT QUIT PIPE TERM
    end_pipeline
    [ "$ended" -eq 0 ] || has_room || warn "no room in $work for temporary files: set TMPDIR to where there is some"
    undo
    [ -z "$work" ] || rm -rf "$work"
}

# has_room tries whether $work takes more than what a file system might keep beside
# a file's name.
has_room() { [ -z "$work" ] || printf '%08192d' 0 2>/dev/null >"$work/room"; }

# die_of SIGNAL STATUS lets the parent see what ended the script.
die_of() {
    [ "$1" != TERM ] || ! is_forsaken || warn 'ended because nobody keeps the lock any more: the process that should has ended'
    cleanup "$2"
    trap - "$1"
    kill -s "$1" "$$"
    exit "$2"
}

# is_forsaken tells whether the keeper of the lease under which the script runs has
# ended: one that was killed could not say so, and the kernel sends SIGTERM then.
# The lease is no word of grep's own command line.
is_forsaken() {
    # shellcheck disable=SC2062 # files, not a pattern
    [ -n "${PGPIPES_LEASE:-}" ] && ! printf '%s\n' "${PGPIPES_LEASE#*=}" | grep -qsF -f - /proc/[0-9]*/cmdline
}

### Pipelines

# stage NAME COMMAND… runs one stage of a pipeline and keeps its status, which
# the shell would forget. The shell's own remark about a killed COMMAND goes to
# /dev/null.
stage() {
    stage_=$1 status_=0
    shift
    {
        "$@" <&3 2>&4 3<&- 4>&- &
        echo "$!" >"$work/$stage_.pid"
        [ ! -e "$work/ending" ] || kill "$!" || :
        wait "$!" || status_=$?
    } 3<&0 4>&2 2>/dev/null
    echo "$status_" >"$work/$stage_.status"
}

# run_pipeline FUNCTION NAME… runs FUNCTION, which is a pipeline of stages with
# these names, and ends the script unless all of them succeeded.
run_pipeline() {
    run_stages "$1"
    shift
    judge "$@"
}

# run_stages COMMAND… runs it in the background, because only a waiting shell
# acts upon a signal at once, and leaves the statuses of its stages to judge or
# to status_of.
run_stages() {
    rm -f "$work"/*.status "$work"/*.pid
    "$@" &
    pipeline=$!
    wait "$pipeline" || :
    pipeline=
}

# status_of NAME prints how that stage ended; one that left no word was killed.
status_of() { cat "$work/$1.status" 2>/dev/null || echo 137; }

# judge NAME… names the stages that failed. Those that were merely ended by the
# failure of the next one (128 + SIGPIPE) are named only if there are no others.
# The status of the script is that of the first one named.
judge() {
    failed_='' cut_='' cause_=''
    for stage_ in "$@"; do
        status_=$(status_of "$stage_")
        case $status_ in
            0) ;;
            141) cut_="$cut_${cut_:+, }$stage_ was cut off" ;;
            *)
                failed_="$failed_${failed_:+, }$stage_ ended with status $status_"
                cause_=${cause_:-$status_}
                ;;
        esac
    done
    case ${cause_:-$cut_} in
        '') ;;
        1 | 100) die "$cause_" "$failed_" ;;
        *) die 111 "${failed_:-$cut_}" ;;
    esac
}

# end_pipeline ends the stages that still run, and waits for them. One that is begun
# just now ends itself.
end_pipeline() {
    [ -n "$pipeline" ] || return 0
    : >"$work/ending"
    for file_ in "$work"/*.pid; do
        [ ! -e "$file_" ] || [ -e "${file_%.pid}.status" ] || kill "$(cat "$file_")" 2>/dev/null
    done
    wait "$pipeline"
    pipeline=
}
