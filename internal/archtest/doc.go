// Package archtest holds the architecture of the module, as a test: which package may import which.
//
// It has no code of its own; see the table in arch_test.go. Tests may import what they like: the table holds what code
// imports, and no more.
package archtest
