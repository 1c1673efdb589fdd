package manifest

import (
	"errors"
	"strconv"
	"strings"
)

// ParseReceipt reads what `repo put` prints about a part that it has stored:
// the SHA-256 and the size in bytes of what is stored, and its key, with tabs
// between them.
func ParseReceipt(name, line string) (Part, error) {
	sum, rest, _ := strings.Cut(line, "\t")
	digits, key, found := strings.Cut(rest, "\t")
	size, err := strconv.ParseInt(digits, 10, 64)
	if !found || err != nil || size < 0 || !validSHA256(sum) || key == "" || strings.ContainsAny(key, "\t\n") {
		return Part{}, errors.New("not a receipt")
	}
	return Part{Name: name, SHA256: sum, Size: size, Key: key}, nil
}
