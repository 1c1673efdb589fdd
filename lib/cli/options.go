package cli

// Repositories is the option that names repositories.
type Repositories struct {
	Locations []string `short:"r" long:"repository" env:"PGPIPES_REPOSITORY" env-delim:"," value-name:"DIR" description:"the repository; may be repeated where a program says so, in the environment with commas"`
}

// Some are the repositories, at least one.
func (r Repositories) Some() ([]string, error) {
	if len(r.Locations) == 0 {
		return nil, Hint(Usagef("which repository?"), "give -r DIR, or set PGPIPES_REPOSITORY")
	}
	return r.Locations, nil
}

// One is the repository where there can be only one.
func (r Repositories) One() (string, error) {
	all, err := r.Some()
	if err == nil && len(all) > 1 {
		err = Usagef("one repository at a time, not %d", len(all))
	}
	if err != nil {
		return "", err
	}
	return all[0], nil
}
