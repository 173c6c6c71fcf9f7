package main

import (
	"errors"
	"regexp"
	"strings"
	"time"
)

const unreleased = "## Unreleased"

var bullet = regexp.MustCompile(`(?m)^- `)

// datedChangelog returns the changelog with the version and date as the heading of what was not released yet.
func datedChangelog(text, version string, at time.Time) (string, error) {
	before, after, found := strings.Cut(text, unreleased+"\n")
	if !found {
		return "", errors.New("CHANGELOG.md has no section " + unreleased)
	}
	section, _, _ := strings.Cut(after, "\n## ")
	if !bullet.MatchString(section) {
		return "", errors.New("CHANGELOG.md has nothing below " + unreleased)
	}
	return before + "## " + strings.TrimPrefix(version, "v") + " - " + at.Format(time.DateOnly) + "\n" + after, nil
}

// openedChangelog returns a dated changelog with a new section for what is not released.
func openedChangelog(text string) string {
	before, after, _ := strings.Cut(text, "\n## ")
	return before + "\n" + unreleased + "\n\n## " + after
}
