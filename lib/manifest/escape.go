package manifest

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Escape writes any bytes as printable UTF-8 without control characters: what
// is a control character, a backslash or not UTF-8 becomes a backslash and
// three octal digits a byte. Everything else, blanks too, stays as it is.
func Escape(s string) string {
	if isPlain(s) {
		return s
	}
	return string(appendEscaped(nil, s))
}

// Unescape is the inverse of [Escape]. It refuses text that Escape would not
// have written, so a name has exactly one escaped form.
func Unescape(s string) (string, error) {
	if isPlain(s) {
		return s, nil
	}
	raw, ok := decodeOctal(s)
	if !ok || Escape(raw) != s {
		return "", fmt.Errorf("%q: not an escaped name", s)
	}
	return raw, nil
}

// isPlain reports whether s is printable ASCII without a backslash, as nearly
// every name is.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

func appendEscaped(b []byte, s string) []byte {
	if isPlain(s) {
		return append(b, s...)
	}
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if needsEscape(r, n) {
			for i := range n {
				b = append(b, '\\', '0'+s[i]>>6, '0'+s[i]>>3&7, '0'+s[i]&7)
			}
		} else {
			b = append(b, s[:n]...)
		}
		s = s[n:]
	}
	return b
}

// needsEscape takes a rune and its length as utf8.DecodeRune gives them. The
// controls above 0x7f are among the escaped because terminals obey them.
func needsEscape(r rune, n int) bool {
	invalid := r == utf8.RuneError && n == 1
	control := r < ' ' || r >= 0x7f && r < 0xa0
	return invalid || control || r == '\\'
}

// decodeOctal replaces each backslash with three octal digits by its byte.
func decodeOctal(s string) (string, bool) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `\`)
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		if len(after) < 3 || after[0] > '3' || !isOctal(after[0]) || !isOctal(after[1]) || !isOctal(after[2]) {
			return "", false
		}
		b.WriteByte((after[0]-'0')<<6 | (after[1]-'0')<<3 | (after[2] - '0'))
		s = after[3:]
	}
}

func isOctal(c byte) bool { return c >= '0' && c <= '7' }
