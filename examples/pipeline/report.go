package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/registry"
)

// A report is the output of -json.
type report struct {
	OK       bool    `json:"ok"`
	ExitCode int     `json:"exitCode"`
	Logins   []entry `json:"logins"`
	Images   []entry `json:"images"`
}

// An entry is the result for a login or an image.
type entry struct {
	Profile  string           `json:"profile,omitempty"` // The profile that was accepted.
	Image    string           `json:"image,omitempty"`
	OK       bool             `json:"ok"`
	Digest   string           `json:"digest,omitempty"`
	Places   []place          `json:"places,omitempty"`
	Issues   []registry.Issue `json:"issues,omitempty"`
	Warnings []string         `json:"warnings,omitempty"`

	host string
}

func newReport(in input, outcome regcred.Outcome, err error) report {
	r := report{OK: err == nil, Logins: []entry{}, Images: []entry{}}
	for i, result := range outcome.Logins {
		r.Logins = append(r.Logins, entry{
			Profile: in.profiles[i].Name, OK: result.Err == nil, Issues: registry.IssuesOf(result.Err), Warnings: result.Warnings,
			host: in.profiles[i].Endpoint,
		})
	}
	for i, result := range outcome.Images {
		by := result.Candidate
		if result.Anonymous {
			by = ""
		}
		r.Images = append(r.Images, entry{
			Profile: by, Image: in.images[i].name, OK: result.Err == nil, Digest: result.Digest,
			Places: slices.DeleteFunc(slices.Clone(in.images[i].places), func(p place) bool { return p.File == "" }),
			Issues: registry.IssuesOf(result.Err), Warnings: result.Warnings, host: result.Image.Host,
		})
	}
	switch {
	case err == nil:
	case registry.Temporary(err):
		r.ExitCode = uncertain
	default:
		r.ExitCode = refuted
	}
	return r
}

func (r report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// A line of the report combines entries with the same outcome.
type line struct {
	status, what string
	entries      []entry
	text, hint   string
}

// lines combines entries with the same failure into one line: an image in many containers, or many images with one
// cause, such as a login that a registry rejects.
func (r report) lines() []line {
	var lines []line
	add := func(what string, e entry) {
		l := line{status: "ok", what: what, entries: []entry{e}}
		if !e.OK {
			l.status = "FAIL"
			l.text, l.hint = "unknown", ""
			if len(e.Issues) > 0 {
				l.text, l.hint = e.Issues[0].Problem, e.Issues[0].Hint
			}
			for i, other := range lines {
				first := other.entries[0]
				if other.status == "FAIL" && other.what == what && first.host == e.host &&
					len(first.Issues) > 0 && len(e.Issues) > 0 && first.Issues[0].Code == e.Issues[0].Code && other.hint == l.hint {
					lines[i].entries = append(lines[i].entries, e)
					return
				}
			}
		}
		lines = append(lines, l)
	}
	for _, e := range r.Logins {
		add("login", e)
	}
	for _, e := range r.Images {
		add("image", e)
	}
	return lines
}

func (l line) name() string {
	first := l.entries[0]
	name := first.Image
	if l.what == "login" {
		name = first.Profile
	}
	if more := len(l.entries) - 1; more > 0 {
		name += fmt.Sprintf(" and %d more at %s", more, first.host)
	}
	return name
}

func (l line) where() string {
	var places []place
	for _, e := range l.entries {
		places = append(places, e.Places...)
	}
	if len(places) == 0 {
		return ""
	}
	where := places[0].String()
	if more := len(places) - 1; more > 0 {
		where += fmt.Sprintf(" (+%d)", more)
	}
	return where
}

func (l line) result() string {
	switch first := l.entries[0]; {
	case l.status == "FAIL":
		return l.text
	case l.what == "login":
		return "works"
	case first.Profile == "":
		return "can be pulled without a login, " + first.Digest
	default:
		return "can be pulled with " + first.Profile + ", " + first.Digest
	}
}

// writeText writes a table with colors to a terminal, and otherwise one line for each outcome.
func (r report) writeText(w io.Writer, t terminal) {
	failed := 0
	for _, l := range r.lines() {
		if l.status == "FAIL" {
			failed += len(l.entries)
		}
		if t.is {
			l.writeTable(w, t)
		} else {
			l.writePlain(w)
		}
	}
	total := len(r.Logins) + len(r.Images)
	fmt.Fprintf(w, "%d of %d checks failed\n", failed, total)
}

func (l line) writePlain(w io.Writer) {
	text := fmt.Sprintf("%-5s %s %s", l.status, l.what, l.name())
	if where := l.where(); where != "" {
		text += " [" + where + "]"
	}
	text += ": " + l.result()
	if l.hint != "" {
		text += "; hint: " + l.hint
	}
	fmt.Fprintln(w, text)
	for _, e := range l.entries {
		for _, warning := range e.Warnings {
			fmt.Fprintf(w, "warn  %s %s: %s\n", l.what, e.Image+map[bool]string{true: e.Profile}[l.what == "login"], warning)
		}
	}
}

func (l line) writeTable(w io.Writer, t terminal) {
	color, mark := "32", "✓"
	if l.status == "FAIL" {
		color, mark = "31", "✗"
	}
	fmt.Fprintf(w, "%s %-5s %s\n", t.color(color, mark), l.what, t.cut(l.name(), 8))
	row := func(name, text string) {
		for i, part := range t.wrap(text, 10) {
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(w, "  %s%s\n", t.color("2", fmt.Sprintf("%-8s", name)), part)
		}
	}
	row("where", l.where())
	row("result", l.result())
	row("hint", l.hint)
	if len(l.entries) > 1 {
		for _, e := range l.entries[1:] {
			row("also", strings.TrimSpace(e.Image+" "+line{what: l.what, entries: []entry{e}}.where()))
		}
	}
	for _, e := range l.entries {
		for _, warning := range e.Warnings {
			row("warning", warning)
		}
	}
}
