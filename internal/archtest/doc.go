// Package archtest tests the architecture of the module: the packages that each package may import.
//
// It has no code of its own; see the table in arch_test.go. The table is about code: tests may import any package.
package archtest
