// Command diagrams draws the diagrams of the documentation: each docs/diagrams/NAME.txt becomes NAME.svg beside it.
//
// The first line of a text file is the title, the second line describes the diagram for readers who do not see it, and
// the drawing follows after an empty line. The colours follow the reader's light or dark mode.
//
//	go -C tools run ./diagrams ../docs/diagrams          # draws all of them
//	go -C tools run ./diagrams -check ../docs/diagrams   # fails if one is missing or not current
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"

	"github.com/bep/goat"
)

func main() {
	check := flag.Bool("check", false, "write nothing, and fail if a drawing is missing or not current")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: diagrams [-check] FOLDER")
		os.Exit(2)
	}
	if err := draw(flag.Arg(0), *check); err != nil {
		fmt.Fprintln(os.Stderr, "diagrams:", err)
		os.Exit(1)
	}
}

func draw(dir string, check bool) error {
	sources, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return err
	}
	if len(sources) == 0 {
		return fmt.Errorf("%s holds no *.txt", dir)
	}
	var stale []error
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		svg, err := render(string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
		drawing := strings.TrimSuffix(source, ".txt") + ".svg"
		if !check {
			if err := os.WriteFile(drawing, svg, 0o644); err != nil {
				return err
			}
			continue
		}
		if current, err := os.ReadFile(drawing); err != nil {
			stale = append(stale, err)
		} else if !bytes.Equal(current, svg) {
			stale = append(stale, fmt.Errorf("%s is not the drawing of %s; run diagrams without -check", drawing, source))
		}
	}
	return errors.Join(stale...)
}

// render returns the drawing with a title, a description, and colours for light and dark pages.
func render(text string) ([]byte, error) {
	head, drawing, ok := strings.Cut(text, "\n\n")
	title, description, both := strings.Cut(head, "\n")
	if !ok || !both || strings.Contains(description, "\n") {
		return nil, errors.New("want a line with the title, a line with the description, an empty line, and the drawing")
	}
	svg := goat.BuildSVG(strings.NewReader(drawing))
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title" aria-describedby="description" width="%d" height="%d" `+
		`viewBox="0 0 %[1]d %[2]d" font-family="Menlo,Consolas,monospace">`+"\n", svg.Width, svg.Height)
	fmt.Fprintf(&b, "<title id=\"title\">%s</title>\n<desc id=\"description\">%s</desc>\n", html.EscapeString(title), html.EscapeString(description))
	b.WriteString("<style>svg { color: #1f2328 } @media (prefers-color-scheme: dark) { svg { color: #e6edf3 } }</style>\n")
	b.WriteString(svg.Body)
	b.WriteString("</svg>\n")
	return b.Bytes(), nil
}
