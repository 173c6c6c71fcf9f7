package validate

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/regcred/regcred/registry"
)

// A Result is the result of a check: the verdict, and the evidence for it. It holds no secret.
type Result struct {
	// Image is the image that was checked; zero for a login.
	Image registry.Image

	// Err is the verdict, as the check returned it: nil only if the image can be pulled, or the login works.
	Err error

	// Candidate is the name of the candidate that the registry accepted. Anonymous reports that no login was sent.
	Candidate string
	Anonymous bool

	// Digest and MediaType describe the manifest or index of the image. They are empty if it was not found.
	Digest    string
	MediaType string
	// Platforms are the platforms that the image supports. Nil if they were not read; see [Checker.Platforms].
	Platforms []Platform
	// Size is the total size of the config and the layers in bytes, as stored. For an index, it is the size of the largest
	// image that was checked. Zero if the sizes were not read.
	Size int64

	// Pulls reports whether the image pulls on all of the [Checker.Runtimes]. Runs reports whether a container can start
	// from it on the [Checker.Platforms]. The two may differ for two reasons: some runtimes report a successful pull of
	// content that they cannot run, such as a Helm chart; and an image that is not in an index pulls on every platform,
	// although it runs only on its own.
	Pulls, Runs Answer
	// Runtimes are the verdicts for each release line of the runtimes. Nil for a login.
	Runtimes []RuntimeResult
	// Basis is the content that the verdict is based on. Empty if the manifest was not found.
	Basis Basis

	// Attempts are the candidates that were tried, in order. A candidate whose credential was rejected and renewed appears
	// twice.
	Attempts []Attempt

	// RateLimit is the limit of pulls and the number that remains, if the registry reports it. Zero if it is not known.
	RateLimit RateLimit

	// Warnings are findings that do not keep the image from being pulled but that a person should know about; one
	// sentence each, without a full stop.
	Warnings []string

	// Duration is the duration of the check.
	Duration time.Duration
}

// An Answer is the answer to a question about an image: [Yes], [No], or [Unknown].
type Answer string

const (
	Unknown Answer = ""
	Yes     Answer = "yes"
	No      Answer = "no"
)

// A Basis is the part of an image that a check read. The rest may still fail: docs/validate.md lists what each request
// proves.
type Basis string

// The bases. Each includes the ones before it.
const (
	BasisHeaders  Basis = "headers"  // The headers of the response to HEAD, which does not count as a pull on Docker Hub.
	BasisManifest Basis = "manifest" // The manifest, and the content from which the platforms are known.
	BasisLayers   Basis = "layers"   // The manifest, and a HEAD or the first byte of the config and of every layer.
)

// A RuntimeResult is the verdict for one release line of a container runtime.
type RuntimeResult struct {
	// Runtime and Version identify the line, such as containerd 1.7. An empty Version means all supported versions.
	Runtime Runtime
	Version string
	// Pulls reports whether the runtime reports a successful pull. Runs reports whether a container can start from the
	// pulled image on the [Checker.Platforms]. Runs is Unknown without Platforms.
	Pulls, Runs Answer
	// Err is the reason why the image does not pull or run; nil if there is none.
	Err error
}

// An Attempt is one try with one candidate.
type Attempt struct {
	// Candidate is the name of the candidate, and Username the user name that was sent. Anonymous reports that no login
	// was sent.
	Candidate string
	Username  string
	Anonymous bool
	// Renewed reports that the candidate's first credential was rejected, and that this attempt used a new one.
	Renewed bool
	// Err is nil for the candidate that the registry accepted.
	Err error
	// Exchanges are the requests that the attempt is based on, in order. A request that was sent once for many images is
	// in the attempts of all of them.
	Exchanges []Exchange
}

// An Exchange is one request and its response.
type Exchange struct {
	// Step is the purpose of the request.
	Step Step
	// Method and URL are the request's. Query parameters that may be secret are left out of the URL: all except the
	// service and the scopes of a token request.
	Method, URL string
	// Auth is the authentication scheme that was sent: "Basic", "Bearer", or empty for none.
	Auth string
	// Status is the status of the response; zero if there was none.
	Status int
	// Code is the registry's own error code, such as MANIFEST_UNKNOWN. Empty if it sent none.
	Code string
	// Message is the registry's own error message, cleaned and cut to one line of at most 200 bytes. It is untrusted text.
	Message string
	// Err is the reason why there was no response. Empty if there was one.
	Err string
	// Duration is the time from the request to the last byte that was read of the response.
	Duration time.Duration
}

// A Step is the purpose of a request.
type Step string

// The steps of a check.
const (
	StepPing         Step = "ping"         // GET /v2/, which returns the authentication challenge.
	StepToken        Step = "token"        // The request for a token.
	StepLogin        Step = "login"        // A check of the login, whatever it may pull.
	StepManifest     Step = "manifest"     // The manifest of the image.
	StepConfig       Step = "config"       // The config of the image.
	StepLayer        Step = "layer"        // A layer of the image.
	StepProbe        Step = "probe"        // Refines a verdict: whether the repository exists, or the image is public.
	StepRepositories Step = "repositories" // A page of the list of repositories.
	StepTags         Step = "tags"         // A page of the list of tags.
)

// String returns the exchange in one line, with the start of the registry's own message and without what may be a
// secret: GET https://ghcr.io/v2/a/b/manifests/1: 404 MANIFEST_UNKNOWN "manifest unknown".
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

// A RateLimit is a budget of pulls, as Docker Hub reports it.
type RateLimit struct {
	// Remaining of Limit pulls are left in the Window. A zero Limit means that the registry reported none.
	Limit, Remaining int
	Window           time.Duration
	// Source identifies the client whose pulls are counted: an address, or an account.
	Source string
}

// String returns "76 of 100 pulls left in 6h0m0s", or "" if the registry reported no limit.
func (r RateLimit) String() string {
	if r.Limit == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d pulls left in %s", r.Remaining, r.Limit, r.Window)
}
