package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/cli"
	"pgpipes/lib/store"
)

func open(ctx context.Context) (*archive.Repo, error) {
	location, err := options.One()
	if err != nil {
		return nil, err
	}
	return cli.OpenRepository(ctx, location)
}

// refuseOwn keeps what holds a repository together from being put or removed
// like an object.
func refuseOwn(key string) error {
	if key == "pgpipes" || strings.HasPrefix(key, "lock/") {
		return cli.Usagef("%s: the repository's own", key)
	}
	return nil
}

var getOptions struct {
	Range string `long:"range" value-name:"FIRST-LAST" description:"only these bytes, counted from 0; LAST may be left out"`
}

func runGet(ctx context.Context, p *cli.Process, operands []string) error {
	offset, length, err := parseRange(getOptions.Range)
	if err != nil {
		return err
	}
	locations, err := options.Some()
	if err == nil {
		err = p.RefuseClosedOutput()
	}
	if err != nil {
		return err
	}
	return cli.RepositoryHint(archive.Read(ctx, locations, operands[0], offset, length, p.Out, func(err error) { p.Warnf("%v", err) }))
}

// parseRange reads FIRST-LAST or FIRST-; the length is -1 for all the rest.
func parseRange(text string) (offset, length int64, err error) {
	if text == "" {
		return 0, -1, nil
	}
	first, last, found := strings.Cut(text, "-")
	offset, err = strconv.ParseInt(first, 10, 64)
	length = -1
	empty := false
	if err == nil && found && last != "" {
		length, err = strconv.ParseInt(last, 10, 64)
		length += 1 - offset
		empty = length < 1
	}
	if err != nil || !found || empty {
		return 0, 0, cli.Usagef("not a range FIRST-LAST: %s", text)
	}
	return offset, length, nil
}

var lsOptions struct {
	Long bool `short:"l" long:"long" description:"print size and time before the key, tab-separated"`
	JSON bool `long:"json" description:"print one JSON object a line"`
}

func runLs(ctx context.Context, p *cli.Process, operands []string) error {
	r, err := open(ctx)
	if err != nil {
		return err
	}
	for info, err := range r.List(ctx, strings.Join(operands, ""), "") {
		if err == nil {
			err = printInfo(p, info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func printInfo(p *cli.Process, info store.Info) error {
	at := info.ModTime.UTC().Format(time.RFC3339)
	switch {
	case lsOptions.JSON:
		return json.NewEncoder(p.Text).Encode(struct {
			Key  string `json:"key"`
			Size int64  `json:"size"`
			Time string `json:"time"`
		}{info.Key, info.Size, at})
	case lsOptions.Long:
		_, err := fmt.Fprintf(p.Text, "%d\t%s\t%s\n", info.Size, at, info.Key)
		return err
	}
	_, err := fmt.Fprintln(p.Text, info.Key)
	return err
}

func runStat(ctx context.Context, p *cli.Process, operands []string) error {
	r, err := open(ctx)
	if err != nil {
		return err
	}
	lsOptions.Long = true
	return each(p, operands, func(key string) error {
		info, err := r.Stat(ctx, key)
		if err != nil {
			return err
		}
		return printInfo(p, info)
	})
}

func runRm(ctx context.Context, p *cli.Process, operands []string) error {
	r, err := open(ctx)
	if err != nil {
		return err
	}
	return each(p, operands, func(key string) error {
		if err := refuseOwn(key); err != nil {
			return err
		}
		return r.Remove(ctx, key)
	})
}

// each does all keys even when one fails, and returns the worst error, the last of
// several.
func each(p *cli.Process, keys []string, do func(key string) error) (worst error) {
	for _, key := range keys {
		err := do(key)
		if err == nil {
			continue
		}
		if !cli.Worse(worst, err) {
			worst, err = err, worst
		}
		if err != nil {
			p.Warnf("%v", err)
		}
	}
	return worst
}
