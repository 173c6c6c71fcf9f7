package validate

import (
	"encoding/json"
	"time"

	"github.com/regcred/regcred/registry"
)

// jsonResult is the JSON form of a [Result]. Its names are stable.
type jsonResult struct {
	OK         bool             `json:"ok"`
	Image      string           `json:"image,omitempty"`
	Candidate  string           `json:"candidate,omitempty"`
	Anonymous  bool             `json:"anonymous,omitempty"`
	Issues     []registry.Issue `json:"issues,omitempty"`
	Pulls      Answer           `json:"pulls,omitempty"`
	Runs       Answer           `json:"runs,omitempty"`
	Basis      Basis            `json:"basis,omitempty"`
	Runtimes   []jsonRuntime    `json:"runtimes,omitempty"`
	Digest     string           `json:"digest,omitempty"`
	MediaType  string           `json:"mediaType,omitempty"`
	Platforms  []string         `json:"platforms,omitempty"`
	Size       int64            `json:"size,omitempty"`
	RateLimit  *jsonRateLimit   `json:"rateLimit,omitempty"`
	Warnings   []string         `json:"warnings,omitempty"`
	DurationMS int64            `json:"durationMs"`
	Attempts   []jsonAttempt    `json:"attempts,omitempty"`
}

type jsonRuntime struct {
	Runtime Runtime          `json:"runtime"`
	Version string           `json:"version,omitempty"`
	Pulls   Answer           `json:"pulls,omitempty"`
	Runs    Answer           `json:"runs,omitempty"`
	Issues  []registry.Issue `json:"issues,omitempty"`
}

type jsonRateLimit struct {
	Limit         int    `json:"limit"`
	Remaining     int    `json:"remaining"`
	WindowSeconds int64  `json:"windowSeconds,omitempty"`
	Source        string `json:"source,omitempty"`
}

type jsonAttempt struct {
	OK        bool             `json:"ok"`
	Candidate string           `json:"candidate,omitempty"`
	Username  string           `json:"username,omitempty"`
	Anonymous bool             `json:"anonymous,omitempty"`
	Renewed   bool             `json:"renewed,omitempty"`
	Issues    []registry.Issue `json:"issues,omitempty"`
	Exchanges []jsonExchange   `json:"exchanges,omitempty"`
}

type jsonExchange struct {
	Step       Step   `json:"step"`
	Method     string `json:"method"`
	URL        string `json:"url"`
	Auth       string `json:"auth,omitempty"`
	Status     int    `json:"status,omitempty"`
	Code       string `json:"code,omitempty"`
	Message    string `json:"message,omitempty"`
	Err        string `json:"error,omitempty"`
	DurationMS int64  `json:"durationMs"`
}

// MarshalJSON returns the verdict, its cause, the fix, and the evidence, under stable names: ok is the verdict, issues
// is the [registry.IssuesOf] on Err, and attempts is the evidence. Durations are in milliseconds, and empty values are
// left out.
func (r Result) MarshalJSON() ([]byte, error) {
	out := jsonResult{
		OK: r.Err == nil, Candidate: r.Candidate, Anonymous: r.Anonymous, Issues: registry.IssuesOf(r.Err),
		Pulls: r.Pulls, Runs: r.Runs, Basis: r.Basis,
		Digest: r.Digest, MediaType: r.MediaType, Size: r.Size, Warnings: r.Warnings, DurationMS: r.Duration.Milliseconds(),
	}
	if r.Image != (registry.Image{}) {
		out.Image = r.Image.String()
	}
	for _, one := range r.Runtimes {
		out.Runtimes = append(out.Runtimes, jsonRuntime{one.Runtime, one.Version, one.Pulls, one.Runs, registry.IssuesOf(one.Err)})
	}
	for _, p := range r.Platforms {
		out.Platforms = append(out.Platforms, p.String())
	}
	if l := r.RateLimit; l.Limit != 0 {
		out.RateLimit = &jsonRateLimit{l.Limit, l.Remaining, int64(l.Window / time.Second), l.Source}
	}
	for _, a := range r.Attempts {
		attempt := jsonAttempt{
			OK: a.Err == nil, Candidate: a.Candidate, Username: a.Username, Anonymous: a.Anonymous, Renewed: a.Renewed,
			Issues: registry.IssuesOf(a.Err),
		}
		for _, e := range a.Exchanges {
			attempt.Exchanges = append(attempt.Exchanges, jsonExchange{
				e.Step, e.Method, e.URL, e.Auth, e.Status, e.Code, e.Message, e.Err, e.Duration.Milliseconds(),
			})
		}
		out.Attempts = append(out.Attempts, attempt)
	}
	return json.Marshal(out)
}
