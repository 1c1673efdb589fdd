package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestConfigFile(t *testing.T) {
	t.Setenv("PGPIPES_CONFIG", "/from/environment")
	for args, want := range map[string]string{
		"":                        "/from/environment",
		"--config /x":             "/x",
		"--config=/x":             "/x",
		"-r /r --config=/x NAME":  "/x",
		"NAME --config /x":        "/x",
		"-- --config /x":          "/from/environment",
		"--config":                "/from/environment",
		"--config= NAME":          "",
		"--configuration /x NAME": "/from/environment",
	} {
		if got := configFile(strings.Fields(args)); got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
}

func settingsFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "settings")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// unset makes the test begin without a setting, and restores it in the end.
func unset(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
}

func TestUseConfig(t *testing.T) {
	unset(t, "PGPIPES_A", "PGPIPES_B", "PGPIPES_C", "PGPIPES_D", "PGPIPES_E")
	t.Setenv("PGPIPES_B", "environment")
	t.Setenv("PGPIPES_C", "")
	path := settingsFile(t, "# a comment\n\n  PGPIPES_A=file \nPGPIPES_B=file\nPGPIPES_C=file\nPGPIPES_D=\r\nPGPIPES_E=a=b c\r\n")
	if err := useConfig(path); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"PGPIPES_A": "file", "PGPIPES_B": "environment", "PGPIPES_C": "file", "PGPIPES_E": "a=b c",
	} {
		if got := os.Getenv(name); got != want {
			t.Errorf("%s=%q, want %q", name, got, want)
		}
	}
	if value, there := os.LookupEnv("PGPIPES_D"); there {
		t.Errorf("PGPIPES_D=%q, want it not set", value)
	}
}

func TestUseConfigForgetsEmptySettings(t *testing.T) {
	t.Setenv("PGPIPES_RETRY", "")
	t.Setenv("OTHER_EMPTY", "")
	if err := useConfig(""); err != nil {
		t.Fatal(err)
	}
	if _, there := os.LookupEnv("PGPIPES_RETRY"); there {
		t.Error("PGPIPES_RETRY is set")
	}
	if _, there := os.LookupEnv("OTHER_EMPTY"); !there {
		t.Error("OTHER_EMPTY is not set")
	}
}

func TestUseConfigErrors(t *testing.T) {
	for text, line := range map[string]string{
		"PGPIPES_A":               ":1:",
		"\n# x\nPATH=/tmp\n":      ":3:",
		"export PGPIPES_A=1":      ":1:",
		"= x":                     ":1:",
		"PGPIPES_A=1\nnonsense\n": ":2:",
	} {
		unset(t, "PGPIPES_A")
		path := settingsFile(t, text)
		err := useConfig(path)
		if status(err) != statusUsage || !strings.Contains(err.Error(), path+line) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := useConfig(filepath.Join(t.TempDir(), "none")); status(err) != statusUsage {
		t.Errorf("no file: %v", err)
	}
	if err := useConfig(t.TempDir()); status(err) != statusUsage {
		t.Errorf("a directory: %v", err)
	}
}

// The command line wins over the environment, which wins over the file.
func TestPrecedence(t *testing.T) {
	path := settingsFile(t, "PGPIPES_REPOSITORY=/file\n")
	for _, test := range []struct {
		environment string
		args        []string
		want        []string
	}{
		{"", nil, []string{"/file"}},
		{"/env", nil, []string{"/env"}},
		{"/env,/env2", nil, []string{"/env", "/env2"}},
		{"/env", []string{"-r", "/line"}, []string{"/line"}},
		{"/env", []string{"-r", "/line", "--repository=/line2"}, []string{"/line", "/line2"}},
	} {
		t.Setenv("PGPIPES_REPOSITORY", test.environment)
		var options struct{ Repositories }
		program := Program{Name: "x", Options: &options, Action: Action{Run: nothing}}
		p, _ := printing("x")
		if err := program.run(t.Context(), p, append(test.args, "--config", path)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(options.Locations, test.want) {
			t.Errorf("environment %q, arguments %q: %q, want %q", test.environment, test.args, options.Locations, test.want)
		}
	}
}
