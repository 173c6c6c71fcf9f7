//go:build race

package credentials_test

// raceDetector makes simulations smaller.
const raceDetector = true
