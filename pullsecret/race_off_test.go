//go:build !race

package pullsecret_test

// raceDetector makes simulations smaller.
const raceDetector = false
