package doctest_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"math"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// habits are turns of phrase that readers of Go have to translate, with the number of them that a text may have in 1,000
// words. Where a text is over it, rewrite the sentence: a synonym makes it no clearer.
var habits = []struct {
	name, instead string
	pattern       *regexp.Regexp
	goal          float64
}{
	{"say, tell", "report, return, state, describe", regexp.MustCompile(`\b(says?|said|tells?|told)\b`), 0.5},
	{"ask", "call, request, require, query", regexp.MustCompile(`\bask(s|ed|ing)?\b`), 0.3},
	{"nobody, somebody, whoever", "name who it is", regexp.MustCompile(`\b(nobody|somebody|everybody|anybody|whoever)\b`), 0.2},
	{"that of, those of", "repeat the noun", regexp.MustCompile(`\b(that|those) of\b`), 0.3},
	{"stands in, stands for", "is in, means", regexp.MustCompile(`\b(stands?|stood) (in|there|for|beside|under|before|where)\b`), 0.1},
	{"for, as a reason", "because", regexp.MustCompile(`, for (it|they|what|that|other|no|most|there|these|nothing)\b`), 0.1},
	{"anew", "again", regexp.MustCompile(`\banew\b`), 0},
	{"mend", "fix, correct", regexp.MustCompile(`\bmend(s|ed|ing)?\b`), 0},
	{"be had", "get", regexp.MustCompile(`\bbe had\b`), 0},
	{"let in", "accept, admit", regexp.MustCompile(`\blets? (it|them|him|her|clients?) in\b`), 0},
	{"X is what, X is when", "a noun in the first sentence", regexp.MustCompile(`(^|\. )(A |An |The )?\w+ (is|are) (what|who|whom|whose|where|when|how|why)\b`), 0.2},
	{"What ..., as a subject", "name the subject", regexp.MustCompile(`(^|\. )What [a-z]`), 0.3},
	{"wants", "needs, requires, expects", regexp.MustCompile(`\bwants?\b`), 0.5},
}

// A passage is a line of prose and its place.
type passage struct {
	place, text string
}

// prose returns the comments of each package and the lines of each document. Tests are not included: only contributors
// read them.
func prose(t *testing.T) map[string][]passage {
	t.Helper()
	found := make(map[string][]passage)
	add := func(place, group, text string, first int) {
		for i, line := range strings.Split(text, "\n") {
			found[group] = append(found[group], passage{fmt.Sprintf("%s:%d", place, first+i), line})
		}
	}
	for name, text := range documents(t) {
		text = fence.ReplaceAllStringFunc(text, func(block string) string { return strings.Repeat("\n", strings.Count(block, "\n")) })
		add(name, name, text, 1)
	}
	require.NoError(t, filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != root && (ignored(entry) || entry.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		relative, _ := filepath.Rel(root, name)
		for _, group := range file.Comments {
			add(relative, filepath.Dir(relative), commentText(group), set.Position(group.Pos()).Line)
		}
		return nil
	}))
	return found
}

// commentText returns the text of a comment line by line, without directives and without the first word, which is often a
// name.
func commentText(group *ast.CommentGroup) string {
	var b strings.Builder
	for _, c := range group.List {
		line, isLine := strings.CutPrefix(c.Text, "//")
		if !isLine || strings.HasPrefix(line, "go:") || strings.HasPrefix(line, "nolint") {
			line = ""
		}
		line = strings.TrimPrefix(line, " ")
		if b.Len() == 0 && !strings.HasPrefix(line, "What ") {
			_, line, _ = strings.Cut(line, " ")
		}
		b.WriteString(line + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// TestProse holds the comments of each package and each document to plain English: see CONTRIBUTING.
func TestProse(t *testing.T) {
	for group, passages := range prose(t) {
		words := 0
		for _, p := range passages {
			words += len(strings.Fields(p.text))
		}
		for _, habit := range habits {
			var places []string
			for _, p := range passages {
				for range habit.pattern.FindAllString(p.text, -1) {
					places = append(places, "    "+p.place+": "+strings.TrimSpace(p.text))
				}
			}
			allowed := int(math.Round(habit.goal * float64(words) / 1000))
			if habit.goal > 0 {
				allowed = max(allowed, 1) // A short text may have one.
			}
			if len(places) > allowed {
				t.Errorf("%s: %q %d times in %d words, %d at most; better: %s\n%s",
					group, habit.name, len(places), words, allowed, habit.instead, strings.Join(places, "\n"))
			}
		}
	}
}
