package ecrtest

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/registry/registrytest"
)

// Registry returns the registry of the account and region that the host names, by any of its names, or ECR Public for
// public.ecr.aws. Use it to add images, make requests fail, and inspect requests. It panics if the host is not a
// registry of ECR.
func (a *AWS) Registry(host string) *registrytest.Registry {
	h, err := ecr.ParseHost(host)
	if err != nil {
		panic("ecrtest: " + err.Error())
	}
	var r *registrytest.Registry
	a.locked(func() {
		name := h.Account + "/" + h.Region
		if r = a.registries[name]; r == nil {
			r = a.newRegistry(h)
			a.registries[name] = r
		}
	})
	return r
}

func (a *AWS) newRegistry(h ecr.Host) *registrytest.Registry {
	if h.Public {
		return &registrytest.Registry{Dialect: registrytest.ECRPublic(), Public: []string{"*"}, Authenticate: a.authenticator(h)}
	}
	d := registrytest.ECRFor("{account}", "arn:"+h.Partition+":ecr:"+h.Region+":"+h.Account)
	return &registrytest.Registry{Dialect: d, Authenticate: a.authenticator(h)}
}

// authenticator accepts the issued tokens. Like AWS, it rejects a token of another region as expired.
func (a *AWS) authenticator(h ecr.Host) func(string, credentials.Secret) (registrytest.Account, bool) {
	return func(username string, password credentials.Secret) (registrytest.Account, bool) {
		t, ok := a.tokenOf(password.Reveal())
		if !ok || username != ecr.Username || t.public != h.Public {
			return registrytest.Account{}, false
		}
		account := registrytest.Account{Username: t.principal.arn, ExpiresAt: t.expiresAt}
		if t.region != h.Region || t.principal.partition() != h.Partition {
			account.ExpiresAt = time.Now()
		}
		a.allow(&account, t.principal, h)
		return account, true
	}
}

func (a *AWS) tokenOf(password string) (t token, ok bool) {
	a.locked(func() { t, ok = a.tokens[password] })
	return t, ok
}

// allow sets the permissions of an account: in its own registry the identity's policy is sufficient; elsewhere the
// repository's policy must allow the pull as well.
func (a *AWS) allow(account *registrytest.Account, p principal, h ecr.Host) {
	if h.Public || !p.allows("ecr:BatchGetImage") {
		return
	}
	if p.account() == h.Account {
		account.Pull = p.policy.repositories("ecr:BatchGetImage", h)
		if p.allows("ecr:PutImage") {
			account.Push = account.Pull
		}
	} else {
		for name, arns := range a.Policies {
			host, repository, _ := strings.Cut(name, "/")
			of, err := ecr.ParseHost(host)
			if named, _ := p.namedIn(arns); named && err == nil && of.Account == h.Account && of.Region == h.Region {
				account.Pull = append(account.Pull, repository)
			}
		}
	}
	if !p.allows("ecr:GetDownloadUrlForLayer") {
		account.NoBlobs = account.Pull
	}
}

// reasonGap is the part of the registry's response that names the missing policy.
const reasonGap = "identity-based"

func (a *AWS) serveRegistry(w http.ResponseWriter, r *http.Request, h ecr.Host) {
	reason := "identity-based"
	if _, password, ok := r.BasicAuth(); ok {
		if t, ok := a.tokenOf(password); ok && t.principal.account() != h.Account && t.principal.allows("ecr:BatchGetImage") {
			reason = "resource-based"
		}
	}
	if action := a.missingForList(r, h); action != "" {
		ociDenied(w, r, h, action)
		return
	}
	a.Registry(strings.ToLower(r.Host)).ServeHTTP(&reasonWriter{w, reason}, r)
}

// missingForList returns the action that is required to list repositories or tags, if the identity lacks it.
func (a *AWS) missingForList(r *http.Request, h ecr.Host) string {
	action := ""
	switch {
	case h.Public || r.Method != http.MethodGet:
	case r.URL.Path == "/v2/_catalog":
		action = "ecr:DescribeRepositories"
	case strings.HasPrefix(r.URL.Path, "/v2/") && strings.HasSuffix(r.URL.Path, "/tags/list"):
		action = "ecr:ListImages"
	}
	_, password, ok := r.BasicAuth()
	if t, known := a.tokenOf(password); action != "" && ok && known && !t.principal.allows(action) {
		return action
	}
	return ""
}

func ociDenied(w http.ResponseWriter, r *http.Request, h ecr.Host, action string) {
	repository := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/v2/"), "/tags/list")
	if repository == "_catalog" {
		repository = "*"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_, _ = fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":"User is not authorized to perform: %[1]s on resource: `+
		`arn:%[2]s:ecr:%[3]s:%[4]s:repository/%[5]s because no identity-based policy allows the %[1]s action"}]}`,
		action, h.Partition, h.Region, h.Account, repository)
}

// A reasonWriter replaces [reasonGap] with the reason.
type reasonWriter struct {
	http.ResponseWriter
	reason string
}

func (w *reasonWriter) WriteHeader(status int) {
	if status == http.StatusForbidden {
		w.Header().Del("Content-Length")
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *reasonWriter) Write(b []byte) (int, error) {
	if _, err := w.ResponseWriter.Write(bytes.ReplaceAll(b, []byte(reasonGap), []byte(w.reason))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Unwrap allows [http.ResponseController] to flush.
func (w *reasonWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
