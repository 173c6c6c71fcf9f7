package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/regcred/regcred/validate"
)

// A terminal describes a terminal that a person reads. The zero terminal is a file or a pipe.
type terminal struct {
	is, colors bool
	width      int
}

// terminalOf returns the terminal behind f. It follows NO_COLOR (https://no-color.org), TERM, CI and COLUMNS.
func terminalOf(f *os.File) terminal {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 || os.Getenv("TERM") == "dumb" || os.Getenv("CI") != "" {
		return terminal{}
	}
	t := terminal{is: true, colors: os.Getenv("NO_COLOR") == "", width: 100}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n >= 40 {
		t.width = n
	}
	return t
}

func (t terminal) color(code, text string) string {
	if !t.colors {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// cut shortens a line to the width, of which taken columns are already used.
func (t terminal) cut(text string, taken int) string {
	if width := t.width - taken; utf8.RuneCountInString(text) > width {
		return string([]rune(text)[:width-3]) + "..."
	}
	return text
}

// wrap breaks text between words. A word that is longer than a line gets a line of its own.
func (t terminal) wrap(text string, taken int) []string {
	var lines []string
	for _, word := range strings.Fields(text) {
		last := len(lines) - 1
		if last >= 0 && utf8.RuneCountInString(lines[last])+1+utf8.RuneCountInString(word) <= t.width-taken {
			lines[last] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

// A progress reports the progress of the checks: in one line of a terminal, and otherwise every few seconds.
type progress struct {
	w      io.Writer
	t      terminal
	last   time.Time
	every  time.Duration
	active bool
}

func (c *command) progress(start time.Time) *progress {
	p := &progress{w: c.stderr, t: c.terminal, last: start, every: 3 * time.Second}
	if p.t.is {
		p.every = 100 * time.Millisecond
	}
	return p
}

func (p *progress) update(done validate.Progress) {
	now := time.Now()
	if now.Sub(p.last) < p.every {
		return
	}
	p.last = now
	if p.t.is {
		p.active = true
		fmt.Fprintf(p.w, "\r%d of %d images checked", done.Done, done.Total)
		return
	}
	fmt.Fprintf(p.w, "%d of %d images checked\n", done.Done, done.Total)
}

// clear removes the line of a terminal.
func (p *progress) clear() {
	if p.active {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
