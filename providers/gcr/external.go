package gcr

import (
	"regexp"

	"github.com/regcred/regcred/field"
)

// An external is the configuration of workload identity federation. It names the source of another issuer's token, and
// the recipient of that token. So a configuration from an untrusted author can make a process read files, call URLs and
// start programs: https://cloud.google.com/docs/authentication/external/externally-sourced-credentials advises to check
// it. Fields that are not declared here are dropped.
type external struct {
	Audience         string `json:"audience,omitempty"`
	SubjectTokenType string `json:"subject_token_type,omitempty"`
	TokenURL         string `json:"token_url,omitempty"`
	ImpersonationURL string `json:"service_account_impersonation_url,omitempty"`
	Impersonation    *struct {
		LifetimeSeconds int `json:"token_lifetime_seconds,omitempty"`
	} `json:"service_account_impersonation,omitempty"`
	WorkforcePoolUserProject string       `json:"workforce_pool_user_project,omitempty"`
	Source                   *tokenSource `json:"credential_source,omitempty"`
}

type tokenSource struct {
	File    string            `json:"file,omitempty"`
	URL     string            `json:"url,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Format  *tokenFormat      `json:"format,omitempty"`

	// These are rejected.
	Executable    *struct{} `json:"executable,omitempty"`
	Certificate   *struct{} `json:"certificate,omitempty"`
	EnvironmentID string    `json:"environment_id,omitempty"`
}

type tokenFormat struct {
	Type  string `json:"type,omitempty"`
	Field string `json:"subject_token_field_name,omitempty"`
}

const (
	stsURL         = "https://sts.googleapis.com/v1/token"
	credentialsURL = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
	generateToken  = ":generateAccessToken"
)

var (
	audience         = regexp.MustCompile(`^//iam\.googleapis\.com/(projects/[0-9]+/)?locations/[a-z0-9-]+/work(load|force)(Identity)?Pools/[a-z0-9-]+/providers/[A-Za-z0-9_-]+$`)
	impersonationURL = regexp.MustCompile(`^` + regexp.QuoteMeta(credentialsURL) + `[a-z0-9][a-z0-9.-]*@[a-z0-9][a-z0-9.-]*\.gserviceaccount\.com` + generateToken + `$`)
)

func (e *external) check(problems *field.List, allowed func(name string) bool) {
	if !audience.MatchString(e.Audience) {
		problems.Add("audience", missingOr(e.Audience), "//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER")
	}
	if e.SubjectTokenType == "" {
		problems.Add("subject_token_type", "is missing", "urn:ietf:params:oauth:token-type:jwt for a token of an OpenID Connect issuer")
	}
	if e.TokenURL != stsURL {
		problems.Add("token_url", missingOr(e.TokenURL), stsURL+": this process sends its tokens to no other server")
	}
	if e.ImpersonationURL != "" && !impersonationURL.MatchString(e.ImpersonationURL) {
		problems.Add("service_account_impersonation_url", "is "+field.Quote(e.ImpersonationURL), credentialsURL+"ADDRESS"+generateToken)
	}
	if e.Impersonation != nil && e.Impersonation.LifetimeSeconds < 0 {
		problems.Add("service_account_impersonation.token_lifetime_seconds", "is negative", "the lifetime of a token in seconds")
	}
	e.Source.check(problems, allowed)
}

func (s *tokenSource) check(problems *field.List, allowed func(name string) bool) {
	const path = "credential_source"
	const list = "one of those that this program allows (SubjectTokens of its gcr.Provider)"
	switch {
	case s == nil:
		problems.Add(path, "is missing", "the file or URL of the token of the other issuer")
	case s.Executable != nil:
		problems.Add(path+".executable", "is set", "a file or URL: no profile starts a program")
	case s.Certificate != nil:
		problems.Add(path+".certificate", "is set", "a file or URL: certificates of the machine are not for profiles")
	case s.EnvironmentID != "":
		problems.Add(path+".environment_id", "is "+field.Quote(s.EnvironmentID), "a file or URL: an identity of the machine is not for profiles; where the process itself has one, use ambient")
	case (s.File == "") == (s.URL == ""):
		problems.Add(path, "has not exactly one of file and url", "one of them")
	case s.File != "" && !allowed(s.File):
		problems.Add(path+".file", "is "+field.Quote(s.File), list)
	case s.URL != "" && !allowed(s.URL):
		problems.Add(path+".url", "is not allowed", list) // Not quoted: a URL may hold a secret.
	case s.Format != nil && s.Format.Type != "" && s.Format.Type != "text" && (s.Format.Type != "json" || s.Format.Field == ""):
		problems.Add(path+".format", "cannot be used", "type text; or type json and subject_token_field_name")
	}
}
