package validate

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/regcred/regcred/registry"
)

// A Result is what came of a check: the verdict, and the evidence for it. It holds no secret.
type Result struct {
	// Image is what was asked for; zero for a login.
	Image registry.Image

	// Err is the verdict, as it was returned: nil only if the image can be pulled, or the login is good.
	Err error

	// Candidate is the name of the candidate that was let in. Anonymous says that nothing was sent.
	Candidate string
	Anonymous bool

	// Digest and MediaType are those of the manifest or index that the image stands for. Empty if it was not found.
	Digest    string
	MediaType string
	// Platforms are those that the image is for. Nil if they were not asked for; see [Checker.Platforms].
	Platforms []Platform
	// Size is how many bytes the config and the layers have together, as they are stored; of an index, those of the
	// largest platform that was looked at. Zero if they were not asked for.
	Size int64

	// Pulls says whether the image pulls on all of the [Checker.Runtimes], and Runs whether a container can start from it
	// on the [Checker.Platforms]. Some runtimes report a successful pull of what they cannot run, such as a Helm chart;
	// and an image for another platform that is not in an index pulls everywhere.
	Pulls, Runs Answer
	// Runtimes are the verdicts for each release line of the runtimes. Nil for a login.
	Runtimes []RuntimeResult
	// Basis is what the verdict is based on. Empty if the manifest was not found.
	Basis Basis

	// Attempts are the candidates that were tried, in their order. A candidate whose credential was refused and renewed
	// is in it twice.
	Attempts []Attempt

	// RateLimit is what is left of the budget of pulls, with registries that say so. Zero if it is not known.
	RateLimit RateLimit

	// Warnings is what did not keep the image from being pulled, and is worth a word to a person; one sentence each,
	// without a full stop.
	Warnings []string

	// Duration is how long it took.
	Duration time.Duration
}

// An Answer is the answer to a question about an image: [Yes], [No], or [Unknown].
type Answer string

// The answers.
const (
	Unknown Answer = ""
	Yes     Answer = "yes"
	No      Answer = "no"
)

// A Basis is what was read of an image. What was not read may still fail: docs/validate.md says what each request
// proves.
type Basis string

// The bases, each of which includes the ones before.
const (
	BasisHeaders  Basis = "headers"  // The headers of the response to HEAD, which does not count as a pull on Docker Hub.
	BasisManifest Basis = "manifest" // The manifest, and what it takes to find the platforms.
	BasisLayers   Basis = "layers"   // The manifest, and a HEAD or the first byte of the config and of every layer.
)

// A RuntimeResult is the verdict for one release line of a container runtime.
type RuntimeResult struct {
	// Runtime and Version are the line: containerd 1.7. An empty Version stands for all supported ones.
	Runtime Runtime
	Version string
	// Pulls says whether the runtime reports a successful pull, and Runs whether a container can start from what it
	// pulled on the [Checker.Platforms]. Runs is Unknown without Platforms.
	Pulls, Runs Answer
	// Err says why not; nil if there is no reason.
	Err error
}

// An Attempt is one candidate that was tried.
type Attempt struct {
	// Candidate is its name, and Username the user name that it was sent with. Anonymous says that nothing was sent.
	Candidate string
	Username  string
	Anonymous bool
	// Renewed says that the candidate's credential had been refused, and that this is a new one.
	Renewed bool
	// Err is nil for the one that was let in.
	Err error
	// Exchanges are the requests that the attempt rests on, in their order. Those that were made once for many images
	// are in the attempts of all of them.
	Exchanges []Exchange
}

// An Exchange is one request and its answer.
type Exchange struct {
	// Step is what the request was for.
	Step Step
	// Method and URL are what was asked. The URL is without what may be secret in it: the query, but for the service
	// and the scopes of a token request.
	Method, URL string
	// Auth is what was sent along: "Basic", "Bearer", or empty for nothing.
	Auth string
	// Status is that of the answer; zero if there was none.
	Status int
	// Code is the registry's own word for what went wrong, such as MANIFEST_UNKNOWN. Empty if it gave none.
	Code string
	// Message is what else it said, cleaned and cut to a line; never more than 200 bytes. It is text from outside.
	Message string
	// Err is why there was no answer. Empty if there was one.
	Err string
	// Duration is from the request to the last byte that was read of the answer.
	Duration time.Duration
}

// A Step is what a request is for.
type Step string

// The steps of a check.
const (
	StepPing         Step = "ping"         // How does the registry want to be logged in at?
	StepToken        Step = "token"        // A token for a repository, please.
	StepLogin        Step = "login"        // Is this login good, whatever it may pull?
	StepManifest     Step = "manifest"     // The manifest of the image.
	StepConfig       Step = "config"       // The config of the image.
	StepLayer        Step = "layer"        // A layer of the image.
	StepProbe        Step = "probe"        // What may narrow a verdict: is there such a repository, is the image public?
	StepRepositories Step = "repositories" // A page of the list of repositories.
	StepTags         Step = "tags"         // A page of the list of tags.
)

// String returns the exchange in one line, with the start of the registry's own message, in which what may be a secret
// is left out: GET https://ghcr.io/v2/a/b/manifests/1: 404 MANIFEST_UNKNOWN "manifest unknown".
func (e Exchange) String() string {
	var b strings.Builder
	b.WriteString(e.Method + " " + e.URL + ": ")
	switch {
	case e.Err != "":
		b.WriteString(e.Err)
	default:
		b.WriteString(strconv.Itoa(e.Status))
		if e.Code != "" {
			b.WriteString(" " + e.Code)
		}
		if text := quote(e.Message); text != "" {
			b.WriteString(" " + strconv.Quote(text))
		}
	}
	return b.String()
}

// A RateLimit is a budget of pulls, as Docker Hub states it.
type RateLimit struct {
	// Remaining of Limit pulls are left in the Window. A zero Limit means that nothing was said.
	Limit, Remaining int
	Window           time.Duration
	// Source is who is counted: an address, or an account.
	Source string
}

// String returns "76 of 100 pulls left in 6h0m0s", or "" if nothing was said.
func (r RateLimit) String() string {
	if r.Limit == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d pulls left in %s", r.Remaining, r.Limit, r.Window)
}
