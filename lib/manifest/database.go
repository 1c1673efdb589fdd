package manifest

import (
	"fmt"
	"strconv"
	"strings"
)

// databaseKey is the extension of a header that gives the names of databases:
// x-database OID NAME.
const databaseKey = extraPrefix + "database"

// AddDatabase notes the name of a database.
func (h *Header) AddDatabase(oid uint32, name string) {
	h.Extra = append(h.Extra, [2]string{databaseKey, fmt.Sprintf("%d\t%s", oid, Escape(name))})
}

// DatabaseNamed is the OID of the database of which that name is noted, 0 if
// there is none.
func (h *Header) DatabaseNamed(name string) uint32 {
	for _, x := range h.Extra {
		number, escaped, _ := strings.Cut(x[1], "\t")
		if x[0] == databaseKey && escaped == Escape(name) {
			oid, _ := strconv.ParseUint(number, 10, 32)
			return uint32(oid)
		}
	}
	return 0
}
