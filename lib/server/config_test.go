package server

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// clearEnv hides the environment's own connection settings from a test.
func clearEnv(t *testing.T) {
	for _, name := range []string{"PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE", "PGAPPNAME", "PGCONNECT_TIMEOUT", "PGSSLMODE"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
}

func TestParseConfig(t *testing.T) {
	tests := []struct {
		name, conninfo                    string
		env                               map[string]string
		host, database, user, application string
		timeout                           time.Duration
	}{
		{"keywords", "host=/s user=u", nil, "/s", "postgres", "u", "pgpipes", 30 * time.Second},
		{"everything named", "host=h user=u dbname=d application_name=a connect_timeout=7", nil, "h", "d", "u", "a", 7 * time.Second},
		{"URL", "postgres://u@h", nil, "h", "postgres", "u", "pgpipes", 30 * time.Second},
		{"URL with slash", "postgresql://u@h/", nil, "h", "postgres", "u", "pgpipes", 30 * time.Second},
		{"URL with parameters", "postgres://u@h?connect_timeout=7", nil, "h", "postgres", "u", "pgpipes", 7 * time.Second},
		{"URL with database", "postgres://u@h/d", nil, "h", "d", "u", "pgpipes", 30 * time.Second},
		{"environment", "", map[string]string{"PGHOST": "/e", "PGUSER": "eu", "PGDATABASE": "ed", "PGAPPNAME": "ea"}, "/e", "ed", "eu", "ea", 30 * time.Second},
		{"environment without database", "", map[string]string{"PGHOST": "/e", "PGUSER": "eu"}, "/e", "postgres", "eu", "pgpipes", 30 * time.Second},
		{"empty name", "host=/s user=u dbname=", nil, "/s", "postgres", "u", "pgpipes", 30 * time.Second},
		{"conninfo wins", "host=/s", map[string]string{"PGHOST": "/e", "PGUSER": "eu"}, "/s", "postgres", "eu", "pgpipes", 30 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			clearEnv(t)
			for k, v := range test.env {
				t.Setenv(k, v)
			}
			c, err := parseConfig(test.conninfo, defaultDatabase)
			if err != nil {
				t.Fatal(err)
			}
			if c.Host != test.host || c.Database != test.database || c.User != test.user {
				t.Errorf("host %q database %q user %q", c.Host, c.Database, c.User)
			}
			if got := c.RuntimeParams["application_name"]; got != test.application {
				t.Errorf("application_name %q, want %q", got, test.application)
			}
			if c.ConnectTimeout != test.timeout {
				t.Errorf("connect timeout %v, want %v", c.ConnectTimeout, test.timeout)
			}
		})
	}
}

// The service file and the password file are honoured, and the latter is
// searched by the database that is in the end connected to.
func TestParseConfigFiles(t *testing.T) {
	clearEnv(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	t.Setenv("PGSERVICEFILE", write("service", "[backup]\nhost=h.example\nport=6000\nuser=b\n"))
	t.Setenv("PGPASSFILE", write("pass", "h.example:6000:postgres:b:secret\nh.example:6000:b:b:other\n"))
	c, err := parseConfig("service=backup", defaultDatabase)
	if err != nil {
		t.Fatal(err)
	}
	if c.Host != "h.example" || c.Port != 6000 || c.User != "b" || c.Password != "secret" {
		t.Errorf("host %q port %d user %q password %q", c.Host, c.Port, c.User, c.Password)
	}
}

func TestParseConfigErrors(t *testing.T) {
	clearEnv(t)
	for _, conninfo := range []string{"host", "port=x", "postgres://h:1:2/", "service=none", "sslmode=perhaps host=h"} {
		if _, err := parseConfig(conninfo, defaultDatabase); !errors.Is(err, ErrConninfo) {
			t.Errorf("%q: error %v", conninfo, err)
		} else if got := oneLine(err.Error()); got != err.Error() {
			t.Errorf("%q: %q", conninfo, err)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add("host=h user='a b'")
	f.Add("postgres://u:p@h:1,g:2/d?sslmode=disable")
	f.Add("postgres://u@h?")
	f.Fuzz(func(t *testing.T, conninfo string) {
		if c, err := parseConfig(conninfo, defaultDatabase); err == nil && c.Database == "" {
			t.Errorf("%q: no database", conninfo)
		}
	})
}
