package main_test

import (
	"testing"

	"pgpipes/test/script"
)

func TestMain(m *testing.M) {
	script.Main(m, "manifest", "repo", "wal-push", "base-restore", "compress", "expire")
}

func TestScripts(t *testing.T) { script.Run(t, "testdata") }
