package main_test

import (
	"testing"

	"pgpipes/test/script"
)

func TestMain(m *testing.M) { script.Main(m, "base-copy") }

func TestScripts(t *testing.T) { script.Run(t, "testdata") }
