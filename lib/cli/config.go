package cli

import (
	"fmt"
	"os"
	"strings"
)

const settingPrefix = "PGPIPES_"

// configFile finds the file of settings: the option before the environment.
// Options are parsed only after the settings in it are known.
func configFile(args []string) string {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if value, found := strings.CutPrefix(arg, "--config="); found {
			return value
		}
		if arg == "--config" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return os.Getenv("PGPIPES_CONFIG")
}

// useConfig puts the settings of a file into the environment where that has
// none. A setting that is there but empty counts as not there.
func useConfig(path string) error {
	for _, setting := range os.Environ() {
		name, value, _ := strings.Cut(setting, "=")
		if strings.HasPrefix(name, settingPrefix) && value == "" {
			os.Unsetenv(name)
		}
	}
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Mistake(err)
	}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		if !found || !strings.HasPrefix(name, settingPrefix) {
			return Usagef("%s:%d: not a line %sNAME=value", path, i+1, settingPrefix)
		}
		if err := setDefault(name, value); err != nil {
			return Mistake(fmt.Errorf("%s:%d: %w", path, i+1, err))
		}
	}
	return nil
}

func setDefault(name, value string) error {
	if value == "" || os.Getenv(name) != "" {
		return nil
	}
	return os.Setenv(name, value)
}
