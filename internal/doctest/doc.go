// Package doctest keeps the documentation true: its links lead somewhere, its programs compile, and its JSON is JSON.
package doctest
