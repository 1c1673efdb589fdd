package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

var situations = map[string]func() Facts{"empty": empty, "one": one, "branches": branches, "many": many, "hostile": hostile}

func write(t testing.TB, f Facts) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var (
	style = regexp.MustCompile(`(?s)<style>.*</style>`)
	rows  = regexp.MustCompile(`(?m)(^<tr>.*\n){50,}`)
)

// Golden files are without the style, and without rows of which there are very
// many.
func TestGolden(t *testing.T) {
	for name, facts := range situations {
		page := rows.ReplaceAllString(style.ReplaceAllString(write(t, facts()), "<style/>"), "<tr/>\n")
		file := filepath.Join("testdata", name+".html")
		if *update {
			if err := os.WriteFile(file, []byte(page), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if page != string(want) {
			t.Errorf("%s: the page has changed; after a look at it: go test ./lib/report -run Golden -update", name)
		}
	}
}

// elements parses a page as XML, which is stricter than HTML.
func elements(t *testing.T, page string) (all []xml.StartElement) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok {
			all = append(all, e.Copy())
		}
	}
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func TestPagesAreWellFormed(t *testing.T) {
	for name, facts := range situations {
		ids := map[string]bool{}
		all := elements(t, write(t, facts()))
		for _, e := range all {
			if id := attribute(e, "id"); id != "" {
				if ids[id] {
					t.Errorf("%s: id %s twice", name, id)
				}
				ids[id] = true
			}
		}
		for _, e := range all {
			if to := attribute(e, "href"); to != "" && !ids[strings.TrimPrefix(to, "#")] {
				t.Errorf("%s: nothing has the id %s", name, to)
			}
			for to := range strings.FieldsSeq(attribute(e, "aria-labelledby")) {
				if !ids[to] {
					t.Errorf("%s: nothing has the id %s", name, to)
				}
			}
		}
	}
}

// What a picture or a chart shows is said in words, too.
func TestImagesAreNamed(t *testing.T) {
	images := 0
	for _, e := range elements(t, write(t, branches())) {
		if attribute(e, "role") == "img" {
			images++
			if len(strings.Fields(attribute(e, "aria-labelledby"))) != 2 {
				t.Errorf("an image without title and description: %v", e)
			}
		}
	}
	if want := 5; images != want {
		t.Errorf("%d images, want %d", images, want)
	}
}

func TestPagesStandAlone(t *testing.T) {
	address := regexp.MustCompile(`(?i)(https?:|//)[^"'\s>]*|@import|url\([^#]`)
	for name, facts := range situations {
		if name == "hostile" { // its texts name addresses
			continue
		}
		page := strings.ReplaceAll(write(t, facts()), `xmlns="http://www.w3.org/1999/xhtml"`, "")
		if found := address.FindString(page); found != "" {
			t.Errorf("%s: refers to %q", name, found)
		}
		if !strings.Contains(page, `content="default-src 'none'; style-src 'unsafe-inline'"`) {
			t.Errorf("%s: does not forbid the network", name)
		}
	}
}

// A hostile text brings no element and no attribute, and nothing that cannot be
// seen.
func TestTextsOfOthersAreTexts(t *testing.T) {
	shape := func(page string) map[string]int {
		found := map[string]int{}
		for _, e := range elements(t, page) {
			for _, a := range e.Attr {
				found[e.Name.Local+" "+a.Name.Local]++
			}
			found[e.Name.Local]++
		}
		return found
	}
	harmless, page := shape(write(t, branches())), write(t, hostile())
	for what := range shape(page) {
		if harmless[what] == 0 {
			t.Errorf("the hostile page has %s", what)
		}
	}
	for _, never := range []string{"<script", "onload='", "\u202e", "\x07", "\x00", "\xff"} {
		if strings.Contains(page, never) {
			t.Errorf("the hostile page contains %q", never)
		}
	}
	if !strings.Contains(page, "&lt;script&gt;alert(1)") || !strings.Contains(page, "{{.}}") {
		t.Error("the hostile texts are not shown")
	}
}

func TestALongListMakesNoLargePage(t *testing.T) {
	page := write(t, many())
	if most := 300_000; len(page) > most {
		t.Errorf("the page of 1,000 backups has %d bytes, more than %d", len(page), most)
	}
	if n := strings.Count(page, "\n<tr><th>"); n != 1000+2 {
		t.Errorf("%d rows, want all", n)
	}
}

// What is lost is named next to the holes.
func TestLostHistoriesAreNamed(t *testing.T) {
	f := branches()
	f.Lost = []string{"00000006.history", "00000008.history"}
	if page := write(t, f); !strings.Contains(page, `<strong class="bad">00000006.history, 00000008.history</strong>.</p>`) || !strings.Contains(page, "2 lost timeline histories") {
		t.Error("the page does not name them")
	}
	f.Lost = slices.Repeat(f.Lost, MostLines)
	if page := write(t, f); !strings.Contains(page, "</strong> and 200 more.</p>") {
		t.Error("the page does not say how many are left out")
	}
}

// Records beyond what a page should have are not shown, here or where they are
// read.
func TestManyRecordsAreCut(t *testing.T) {
	const said = "<p>Older records of verifications and drills are not shown.</p>"
	f := proved()
	if strings.Contains(write(t, f), said) {
		t.Error("the page says that something is left out")
	}
	f.MoreRecords = true
	if !strings.Contains(write(t, f), said) {
		t.Error("the page does not say that something was left out")
	}
	f.MoreRecords, f.Drills = false, slices.Repeat(f.Drills, MostLines+1)
	if !strings.Contains(write(t, f), said) {
		t.Error("the page does not say that something is left out")
	}
}

func TestManyHolesAreCut(t *testing.T) {
	f := branches()
	for range 10_000 {
		f.Holes = append(f.Holes, f.Holes[2])
	}
	page := write(t, f)
	if !strings.Contains(page, "<p>9804 more are not shown.</p>") {
		t.Error("the page does not say how many holes are left out")
	}
	if n := strings.Count(page, `class="hole accepted"`); n > 2 {
		t.Errorf("%d holes are drawn at one place", n)
	}
}

// The order in which facts come, and where the page is made, do not matter.
func TestTheSameFactsMakeTheSamePage(t *testing.T) {
	f := branches()
	want := write(t, f)
	slices.Reverse(f.Backups)
	slices.Reverse(f.Timelines)
	slices.Reverse(f.Verifications)
	slices.Reverse(f.Drills)
	f.Made = f.Made.In(time.FixedZone("", -7*3600))
	if write(t, f) != want {
		t.Error("the same facts in another order make another page")
	}
}
