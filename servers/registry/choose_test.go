package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is found into testdata/, to be reviewed")

const chooseFile = "testdata/choose.txt"

// imageList is one image of the table.
type imageList struct {
	image string
	tags  []string
	rows  []row
}

type row struct {
	line         int
	current      string
	class        class
	update       string
	distribution string
}

func (r row) String() string {
	text := fmt.Sprintf("%s %s %s", r.current, r.class, dash(r.update))
	if r.distribution != "" {
		text += " + " + r.distribution
	}
	return text
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func undash(s string) string { return strings.TrimPrefix(s, "-") }

func lists(t testing.TB) []imageList {
	t.Helper()
	data, err := os.ReadFile(chooseFile)
	if err != nil {
		t.Fatal(err)
	}
	var all []imageList
	for i, line := range strings.Split(string(data), "\n") {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] == "#":
		case fields[0] == "image":
			all = append(all, imageList{image: fields[1]})
		case fields[0] == "tags":
			all[len(all)-1].tags = fields[1:]
		case len(fields) == 3 || len(fields) == 5 && fields[3] == "+":
			r := row{line: i + 1, current: fields[0], class: class(fields[1]), update: undash(fields[2])}
			if len(fields) == 5 {
				r.distribution = fields[4]
			}
			all[len(all)-1].rows = append(all[len(all)-1].rows, r)
		default:
			t.Fatalf("%s:%d: %q is no row", chooseFile, i+1, line)
		}
	}
	return all
}

// The table: whoever changes what is chosen changes a row, and says why.
func TestChoose(t *testing.T) {
	rows := 0
	found := map[int]row{}
	all := lists(t)
	for _, l := range all {
		for _, want := range l.rows {
			rows++
			c := choose(l.image, want.current, l.tags)
			got := row{line: want.line, current: want.current, class: c.class, update: c.update, distribution: c.distribution}
			found[want.line] = got
			if got != want && !*update {
				t.Errorf("%s:%d: %s\n\t got %s\n\twant %s", chooseFile, want.line, l.image, got, want)
			}
		}
	}
	if *update {
		rewrite(t, found)
	}
	if rows < 300 || len(all) < 40 {
		t.Errorf("%d rows of %d images: the table is meant to have 300 of 40", rows, len(all))
	}
	t.Logf("%d rows of %d images", rows, len(all))
}

func rewrite(t *testing.T, found map[int]row) {
	data, err := os.ReadFile(chooseFile)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	for line, r := range found {
		lines[line-1] = r.String()
	}
	if err := os.WriteFile(chooseFile, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The property test judges with rules of its own, coarser than the parser's and written without it.
var (
	firstNumbers = regexp.MustCompile(`[0-9]+(?:\.[0-9]+)*`)
	unstableWord = regexp.MustCompile(`(?i)(^|[0-9._-])(alpha|beta|rc|preview|snapshot|nightly|dev|canary|milestone|M[0-9]+|ea)([0-9._-]|$)`)
	unstableTail = regexp.MustCompile(`[0-9](a|b|rc)[0-9]+`)
)

func looksUnstable(tag string) bool {
	return unstableWord.MatchString(tag) || unstableTail.MatchString(tag)
}

// leading returns the first dotted number of a tag.
func leading(tag string) []string {
	return strings.Split(firstNumbers.FindString(tag), ".")
}

func numberOf(s string) (n int) {
	_, _ = fmt.Sscanf(s, "%d", &n)
	return n
}

func lower(a, b []string) bool {
	for i := range min(len(a), len(b)) {
		if x, y := numberOf(a[i]), numberOf(b[i]); x != y {
			return x < y
		}
	}
	return false
}

// Whatever the tags: no downgrade, no prerelease unless on one, nothing that is not in the list, never the same tag, and
// what is offered does not depend on the order of the list.
func TestChooseProperties(t *testing.T) {
	words := newVocabulary()
	random := rand.New(rand.NewPCG(1, 2))
	all := lists(t)
	suffixes := []string{"", "-alpine", "-alpine3.18", "-alpine3.20", "-bookworm", "-trixie", "-slim", "-rc1", "-beta.2", "rc1", "-amd64", "-r3", "-debian-12-r1", "-ubuntu22.04", "-20240115", "-SNAPSHOT", ".0", "-dev", "_12-jre"}
	version := func() string {
		parts := make([]string, 1+random.IntN(4))
		for i := range parts {
			parts[i] = fmt.Sprint(random.IntN(30))
		}
		return []string{"", "v", ""}[random.IntN(3)] + strings.Join(parts, ".") + suffixes[random.IntN(len(suffixes))]
	}
	for round := range 4000 {
		l := all[random.IntN(len(all))]
		tags := slices.Clone(l.tags)
		if round%2 == 0 {
			tags = nil
		}
		for range random.IntN(40) {
			tags = append(tags, version())
		}
		if len(tags) == 0 {
			continue
		}
		current := tags[random.IntN(len(tags))]
		c := choose(l.image, current, tags)
		for _, offered := range []string{c.update, c.distribution} {
			if offered == "" {
				continue
			}
			if offered == current || !slices.Contains(tags, offered) {
				t.Fatalf("%s offers %s of %q", current, offered, tags)
			}
			if looksUnstable(offered) && !looksUnstable(current) {
				t.Errorf("%s offers the prerelease %s", current, offered)
			}
			if lower(leading(offered), leading(current)) {
				t.Errorf("%s offers the downgrade %s", current, offered)
			}
			if strings.Count(leadingText(offered), ".") != strings.Count(leadingText(current), ".") {
				t.Errorf("%s offers %s, which has another precision", current, offered)
			}
			if back := choose(l.image, offered, tags); back.update == current || back.distribution == current {
				t.Errorf("%s and %s offer each other", current, offered)
			}
		}
		if (c.update == "") != (c.class == classNone) {
			t.Errorf("%s: class %s for %q", current, c.class, c.update)
		}
		random.Shuffle(len(tags), func(i, j int) { tags[i], tags[j] = tags[j], tags[i] })
		if again := choose(l.image, current, tags); compareTags(words.parse(again.update), words.parse(c.update)) != 0 || again.class != c.class {
			t.Errorf("%s offers %s, and of the same tags in another order %s", current, c.update, again.update)
		}
	}
}

func leadingText(tag string) string { return firstNumbers.FindString(tag) }

func TestCompareVersions(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"1.2.3", "1.2.3", 0}, {"1.2.3", "1.2.10", -1}, {"1.2", "1.2.3", 1}, {"1", "1.99", 1}, {"2", "1.99", 1}, {"1.2.3.4", "1.2.3", -1},
		{"01", "1", 0}, {"99999999999999999999999999", "100000000000000000000000000", -1}, {"0", "00", 0}, {"1.10", "1.9", 1},
	} {
		a, b := strings.Split(tc.a, "."), strings.Split(tc.b, ".")
		if got := compareVersions(a, b); got != tc.want || compareVersions(b, a) != -tc.want {
			t.Errorf("%s, %s: %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}

func FuzzTag(f *testing.F) {
	words := newVocabulary()
	for _, l := range lists(f) {
		for _, tag := range l.tags {
			f.Add(tag, l.tags[0])
		}
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := words.parse(a), words.parse(b)
		if x.text != a || compareTags(x, x) != 0 || compareTags(x, y) != -compareTags(y, x) {
			t.Errorf("%q and %q are in no order", a, b)
		}
		for _, number := range append(slices.Clone(x.version), x.build...) {
			if !numberForm.MatchString(number) {
				t.Errorf("%q: %q is no number", a, number)
			}
		}
		if c := choose("library/x", a, []string{a, b}); c.update != "" && (c.update != b || a == b) {
			t.Errorf("%q offers %q", a, c.update)
		}
	})
}
