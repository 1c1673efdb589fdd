# shellcheck shell=sh
# shellcheck disable=SC2154 # here, work, bench, repository
# Repositories elsewhere, which are on this machine after all: OpenSSH's server and
# an S3 server, on the loopback and for this run alone.

# location prints where a case has its repository. A case of sftp or s3 says so at
# the end of its name, perhaps before a number of streams.
location() {
    case $1 in
        *_sftp | *_sftp_[0-9]) echo "sftp://vault$repository?config=$bench/ssh/config" ;;
        *_s3 | *_s3_[0-9]) echo "s3://$(bucket "$1")/pg?endpoint=https://localhost:$s3_port&region=us-east-1&style=path&ca=$bench/s3/cert.pem&credentials=$bench/s3/keys" ;;
        *) echo "$repository" ;;
    esac
}

# bucket prints a name that a bucket may have.
bucket() { echo "$1" | tr _ -; }

# start_servers starts those that the chosen cases need, and leaves their process
# ids in $servers. With a round trip that takes its time the ports that are used
# are those of the way there.
start_servers() {
    ssh_port=54331 s3_port=54332
    ! grep -Eq 'sftp|scp' chosen || start_sshd
    ! grep -Eq '_s3(_[0-9])?$' chosen || start_s3
    [ -z "$trip" ] || move_away
    export ssh_port s3_port
}

move_away() {
    for port_ in $ssh_port $s3_port; do
        network -at "127.0.0.1:$((port_ + 10))" -to "127.0.0.1:$port_" -trip "$trip" &
        servers="$servers $!"
    done
    [ ! -d ssh ] || sed -i "s/^Port $ssh_port/Port $((ssh_port + 10))/" ssh/config
    ssh_port=$((ssh_port + 10)) s3_port=$((s3_port + 10))
}

start_sshd() {
    mkdir -p ssh
    for key_ in host user; do ssh-keygen -q -t ed25519 -N '' -f "ssh/$key_"; done
    cp ssh/user.pub ssh/authorized
    sed 's/^/vault /' ssh/host.pub >ssh/known
    cat >ssh/sshd_config <<CONF
ListenAddress 127.0.0.1
Port $ssh_port
HostKey $work/ssh/host
PidFile none
AuthorizedKeysFile $work/ssh/authorized
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
CONF
    cat >ssh/config <<CONF
Host vault
HostName 127.0.0.1
Port $ssh_port
HostKeyAlias vault
IdentityFile $work/ssh/user
IdentitiesOnly yes
IdentityAgent none
UserKnownHostsFile $work/ssh/known
GlobalKnownHostsFile /dev/null
CONF
    /usr/sbin/sshd -D -f "$work/ssh/sshd_config" -E "$work/ssh/log" &
    servers="$servers $!"
    until scp -q -F ssh/config ssh/known vault:/dev/null 2>>log; do
        kill -0 "$!" 2>/dev/null || die 111 'sshd did not start'
        sleep 0.1
    done
}

start_s3() {
    mkdir -p s3 repository
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout s3/key.pem -out s3/cert.pem 2>>log
    printf '[default]\naws_access_key_id = bench\naws_secret_access_key = %s\n' "$s3_secret" >s3/keys
    versitygw --port "127.0.0.1:$s3_port" --access bench --secret "$s3_secret" --quiet \
        --cert "$work/s3/cert.pem" --key "$work/s3/key.pem" posix "$work/repository" >>log 2>&1 &
    servers="$servers $!"
    until openssl s_client -connect "127.0.0.1:$s3_port" </dev/null >>log 2>&1; do
        kill -0 "$!" 2>/dev/null || die 111 'the S3 server did not start'
        sleep 0.1
    done
}
s3_secret=benchbench

### A large file, in so many streams at once

put_scp_1() { streams 1 scp_there; }
put_scp_2() { streams 2 scp_there; }
put_synced_sftp_1() { streams 1 sftp_there; }
put_synced_sftp_2() { streams 2 sftp_there; }
put_pgpipes_sftp_1() { streams 1 put_there; }
put_pgpipes_sftp_2() { streams 2 put_there; }
put_pgpipes_s3_1() { streams 1 put_there; }
fetch_scp_1() { streams 1 scp_back; }
fetch_scp_2() { streams 2 scp_back; }
fetch_pgpipes_sftp_1() { streams 1 get_back; }
fetch_pgpipes_sftp_2() { streams 2 get_back; }
fetch_pgpipes_s3_1() { streams 1 get_back; }

scp_there() { scp -q -F "$bench/ssh/config" "$bench/blob" "vault:$repository/$1"; }
sftp_there() { echo "put -f $bench/blob $repository/$1" | sftp -q -b - -F "$bench/ssh/config" vault >"$bench/log.$1"; }
scp_back() { scp -q -F "$bench/ssh/config" "vault:$repository/$1" "$dest/$1"; }
put_there() { repo put -r "$(location "$case")" "base/b/$1.tar" <"$bench/blob"; }
get_back() { repo get -r "$(location "$case")" "base/b/$1.tar" >"$dest/$1"; }

# streams N COMMAND runs it for so many files at once.
streams() {
    running_=
    for number_ in $(seq "$1"); do
        "$2" "$number_" &
        running_="$running_ $!"
    done
    failed_=0
    for pid_ in $running_; do wait "$pid_" || failed_=$?; done
    return "$failed_"
}

# make_blob makes what does not compress, as most of what is stored.
make_blob() { [ -e "$bench/blob" ] || head -c 512M /dev/urandom >"$bench/blob"; }
