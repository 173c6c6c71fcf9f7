// Package doctest checks the documentation: that links have a target, programs compile, and JSON is valid.
package doctest
