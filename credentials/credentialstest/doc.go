// Package credentialstest tests caches and sources of credentials, and provides sources for tests.
//
// [TestCache] tests a cache, and [TestSource] a source, against the rules of package credentials; each rule is a
// subtest that is named after it. An [Issuer] is a scripted source: it can be slow, hang, fail, throttle, or issue
// invalid credentials.
//
// The package does not test whether a registry accepts a credential; package validate does.
package credentialstest
