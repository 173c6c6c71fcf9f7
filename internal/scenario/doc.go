// Package scenario defines unusual registries as values, and serves them: the challenges, the token server's response
// to each method, the status and the headers of each response, and the content of the image.
//
// A [Scenario] is data: it can be generated from a seed ([Generate]), reduced to its relevant deviations ([Shrink]),
// stored as JSON, and served to any client ([NewRegistry]). internal/runtimes serves each scenario to the code of
// container runtimes and to package validate, and compares their verdicts.
package scenario
