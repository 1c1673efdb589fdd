package report

import (
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// palettes are the colours of the style: light, then dark.
func palettes(t *testing.T) [2]map[string]string {
	t.Helper()
	css, err := os.ReadFile("style.css")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllSubmatch(css, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d palettes, want a light and a dark one", len(blocks))
	}
	var all [2]map[string]string
	for i, block := range blocks {
		all[i] = map[string]string{}
		for _, m := range regexp.MustCompile(`--([a-z]+): (#[0-9a-f]{6});`).FindAllSubmatch(block[1], -1) {
			all[i][string(m[1])] = string(m[2])
		}
	}
	return all
}

// luminance is that of WCAG 2.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(colour, "#"), 16, 24)
	if err != nil {
		t.Fatal(err)
	}
	linear := func(shift uint) float64 {
		v := float64(n>>shift&255) / 255
		if v <= .04045 {
			return v / 12.92
		}
		return math.Pow((v+.055)/1.055, 2.4)
	}
	return .2126*linear(16) + .7152*linear(8) + .0722*linear(0)
}

func contrast(t *testing.T, a, b string) float64 {
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + .05) / (min(x, y) + .05)
}

func TestContrast(t *testing.T) {
	if got := contrast(t, "#000000", "#ffffff"); math.Abs(got-21) > 1e-9 {
		t.Fatalf("black and white: %v, want 21", got)
	}
	const text, shape = 4.5, 3
	pairs := []struct {
		a, b  string
		least float64
	}{
		{"text", "page", text}, {"text", "panel", text}, {"soft", "page", text}, {"soft", "panel", text},
		{"good", "page", text}, {"doubtful", "page", text}, {"bad", "page", text}, {"known", "page", text},
		{"good", "panel", shape}, {"doubtful", "panel", shape}, {"bad", "panel", shape},
		{"in", "good", text}, {"in", "doubtful", text}, {"in", "bad", text},
		{"window", "page", shape}, {"abandoned", "page", shape}, {"full", "page", shape}, {"incremental", "page", shape}, {"raw", "page", shape},
	}
	for i, palette := range palettes(t) {
		for _, p := range pairs {
			if got := contrast(t, palette[p.a], palette[p.b]); got < p.least {
				t.Errorf("palette %d: %s on %s: %.2f, want at least %v", i, p.a, p.b, got, p.least)
			}
		}
	}
}

// Every colour that the style uses is in both palettes, and none is written
// elsewhere.
func TestColours(t *testing.T) {
	css, err := os.ReadFile("style.css")
	if err != nil {
		t.Fatal(err)
	}
	all := palettes(t)
	for _, m := range regexp.MustCompile(`var\(--([a-z]+)\)`).FindAllStringSubmatch(string(css), -1) {
		if all[0][m[1]] == "" || all[1][m[1]] == "" {
			t.Errorf("colour %s is not in both palettes", m[1])
		}
	}
	if n := strings.Count(string(css), "#"); n != len(all[0])+len(all[1])+2 { // and the two patterns
		t.Errorf("%d colours and references, want those of the palettes and two", n)
	}
}
