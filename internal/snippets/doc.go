// Package snippets compiles the Go code of the documentation. Its module has what that code imports.
package snippets
