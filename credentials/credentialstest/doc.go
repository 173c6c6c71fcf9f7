// Package credentialstest tests caches and sources of credentials, and makes sources for tests.
//
// [TestCache] holds a cache, and [TestSource] a source, to the rules that package credentials states; each rule is a
// case of its own, named by it. An [Issuer] is a source that does what its test wants: it is slow, hangs, fails,
// throttles, or issues nonsense.
//
// The package does not test what a credential opens: that is for package validate.
package credentialstest
