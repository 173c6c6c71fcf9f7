//go:build !race

package inject_test

// raceDetector makes simulations smaller.
const raceDetector = false
