//go:build race

package inject_test

// raceDetector reduces the size of simulations.
const raceDetector = true
