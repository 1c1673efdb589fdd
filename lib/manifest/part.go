package manifest

import (
	"fmt"
	"strings"
)

// maxLabel is the greatest length of a label in bytes.
const maxLabel = 64

// ValidLabel holds for texts that can name a backup: letters, digits, "-", "_"
// and dots, at most 64 of them and no dot first. They are safe as file names,
// in keys and as shell words.
func ValidLabel(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !alnum && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return s != "" && s[0] != '.' && len(s) <= maxLabel
}

// PartName is the name of a backup's own part by its number.
func PartName(number int) string { return fmt.Sprintf("%03d", number) }

// SplitPart divides the name of a part into the label of the backup that has
// stored it, "" for the manifest's own, and its number.
func SplitPart(name string) (label, number string) {
	i := strings.LastIndexByte(name, '/')
	return name[:max(i, 0)], name[i+1:]
}

// ValidPart holds for NNN and LABEL/NNN. A number has as many digits as it
// needs, but at least three.
func ValidPart(name string) bool {
	label, number := SplitPart(name)
	if strings.Contains(name, "/") && !ValidLabel(label) {
		return false
	}
	for i := range len(number) {
		if number[i] < '0' || number[i] > '9' {
			return false
		}
	}
	return len(number) == 3 || len(number) > 3 && len(number) < 10 && number[0] != '0'
}
