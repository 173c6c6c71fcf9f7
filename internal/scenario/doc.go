// Package scenario describes registries that are out of the ordinary, as values, and serves them: what the challenges say,
// how the token server answers each method, the status and the headers of each response, and what the image is made of.
//
// A [Scenario] is data: it can be generated from a seed ([Generate]), reduced to what matters ([Shrink]), stored as JSON,
// and served to any client ([NewRegistry]). internal/runtimes serves each one to the code of container runtimes and to
// package validate, and compares their verdicts.
package scenario
