// Package probe compares a real registry with the fake of its dialect in package registrytest.
//
// A [Probe] sends a fixed list of read-only requests to a registry, and returns a [Capture] of the responses: a value
// with a stable JSON form that has no names, digests, tokens or hosts, so that it can be attached to a bug report.
// [Capture.Compare] sends the same requests to a fake, and returns the differences in plain words.
//
// A capture is a test of the fake as well: [Capture.Verify] fails if the fake no longer responds like the registry did.
// This package's own test verifies each file in testdata/captures.
//
// Texts are redacted by an allowlist. A capture contains only the words in vocabulary.txt, and gaps such as {host} in
// place of known values. Everything else becomes a question mark, whatever the registry sends. [Decode] rejects a
// capture with any other text of a response.
package probe
