# make            build the programs into ./bin
# make test       install what is missing, then lint, race tests and all tests
# make matrix     back up and restore clusters of every major version; MAJORS=13,18
# make test TIMEOUT=2h gives a package of tests on a busy machine more than 40m
# make elsewhere  the end-to-end tests with every repository behind sftp, then in S3
# make stores     S3: a server of four nodes too, of which some are killed
# make soak       random schedules of failures for an hour; SOAK=10m for less
# make demo       back up and restore a scratch cluster before your eyes
# make install    PREFIX=/usr/local DESTDIR= PROGPREFIX=
#
# PROGPREFIX goes before the names in PREFIX/bin: PROGPREFIX=pg- gives
# pg-wal-push, pg-repo and so on.

PREFIX     = /usr/local
DESTDIR    =
PROGPREFIX =
SOAK       = 1h
MAJORS     = 13,14,15,16,17,18
TIMEOUT    = 40m
RELATIONS  = 20000
LARGE      = 3000

PROGRAMS = $(notdir $(wildcard cmd/*))
SCRIPTS  = backup restore check demo drill forward
SHELL_FILES = $(wildcard scripts/*) $(wildcard bench/*.sh) bench/run test/setup test/majors/install test/s3/install .ci/run

LIB = $(DESTDIR)$(PREFIX)/lib/pgpipes
BIN = $(DESTDIR)$(PREFIX)/bin

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
SHFMT = shfmt -i 4 -ci
# SA5008 complains of the tag choice, which go-flags wants repeated.
CHECKS = -checks inherit,-SA5008

# Go is looked for where its own instructions put it, as sudo forgets PATH. A
# tree that belongs to somebody else has no version that git would tell.
export PATH := $(PATH):/usr/local/go/bin
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)
export HOME := $(or $(HOME),$(shell getent passwd $$(id -u) | cut -d: -f6))

.NOTPARALLEL:
.PHONY: all go setup test lint race matrix elsewhere stores soak demo bench install uninstall clean

all: go
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/ ./cmd/...

go:
	@command -v go >/dev/null || { echo 'make: go is not on PATH; see https://go.dev/doc/install' >&2; exit 1; }

setup:
	test/setup

test: setup lint race
	go test -count=1 -timeout $(TIMEOUT) ./...

lint: go
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "gofmt: $$files" >&2; exit 1; }
	go vet ./...
	go run $(STATICCHECK) $(CHECKS) ./...
	shellcheck -x -P SCRIPTDIR $(SHELL_FILES)
	$(SHFMT) -d $(SHELL_FILES)

# The compressors are watched where their buffers are handed about, and elsewhere
# only slow everything down eightfold.
RACE = CGO_ENABLED=1 go test -race -short -count=1 -timeout $(TIMEOUT)
race: go
	@$(RACE) ./lib/codec & codec=$$!; status=0; \
	$(RACE) -gcflags='github.com/klauspost/compress/...=-race=false' $$(go list ./lib/... | grep -v /lib/codec$$) || status=$$?; \
	wait $$codec && exit $$status

matrix: setup go
	go test -count=1 -v -timeout 0 ./test/majors -majors $(MAJORS) -relations $(RELATIONS) -large $(LARGE)

elsewhere: setup go
	go test -count=1 -timeout 0 ./test/e2e -repository sftp
	go test -count=1 -timeout 0 ./test/e2e -repository s3

stores: setup go
	go test -count=1 -v -timeout 0 ./test/stores -nodes

soak: setup go
	go test -count=1 -v -timeout 0 ./test/model -soak $(SOAK)
	go test -count=1 -v -timeout 0 ./lib/store -run TestSFTPSoak -transfers 20000

demo: all
	scripts/demo

bench: all
	bench/run

# Programs and scripts lie together in lib/pgpipes; bin has links to them. What
# was built is taken, so that sudo make install needs no Go.
install:
	@for program in $(PROGRAMS); do [ -x bin/$$program ] || exec $(MAKE) all; done
	install -d "$(LIB)" "$(BIN)"
	install -m 755 $(PROGRAMS:%=bin/%) $(SCRIPTS:%=scripts/%) "$(LIB)"
	install -m 644 scripts/lib.sh "$(LIB)"
	for name in $(PROGRAMS); do ln -sfn ../lib/pgpipes/$$name "$(BIN)/$(PROGPREFIX)$$name" || exit; done
	for name in $(SCRIPTS); do ln -sfn ../lib/pgpipes/$$name "$(BIN)/$(PROGPREFIX)pgpipes-$$name" || exit; done

uninstall:
	for name in $(PROGRAMS) $(SCRIPTS:%=pgpipes-%); do rm -f "$(BIN)/$(PROGPREFIX)$$name" || exit; done
	for name in $(PROGRAMS) $(SCRIPTS) lib.sh; do rm -f "$(LIB)/$$name" || exit; done
	[ ! -d "$(LIB)" ] || rmdir "$(LIB)"

clean:
	rm -rf bin
