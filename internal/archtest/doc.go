// Package archtest holds the architecture of the module, as a test: which package may import which.
//
// It has no code of its own; see the table in arch_test.go. It does not look at the imports of tests.
package archtest
