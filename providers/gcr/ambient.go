package gcr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/oauth2/google"

	"github.com/regcred/regcred/registry"
)

// ambient returns the identity of the process, in the order of https://google.aip.dev/auth/4110: the file that the
// environment names, the file of gcloud, the metadata server. Package oauth2 has the same order, but calls the metadata
// server without a context, and keeps its first response for the life of the process.
func (s *session) ambient(ctx context.Context, scope string) (identity, error) {
	path, named := os.Getenv("GOOGLE_APPLICATION_CREDENTIALS"), true
	if path == "" {
		path, named = wellKnownFile(), false
	}
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		return s.fromFile(ctx, path, data, scope)
	case named || !errors.Is(err, fs.ErrNotExist) && path != "":
		id, hint := identity{name: "the process"}, "check GOOGLE_APPLICATION_CREDENTIALS"
		if !named {
			hint = "make the file readable for this program, or remove it: gcloud auth application-default login wrote it"
		}
		return id, s.error(registry.ErrNoIdentity, hint, 0, fmt.Errorf("%s: %w", step{stepFile, ""}.text(id), err))
	}
	return s.fromMetadata(ctx, scope, path)
}

// wellKnownFile is the path of the file that gcloud auth application-default login writes.
func wellKnownFile() string {
	const name = "application_default_credentials.json"
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("APPDATA"), "gcloud", name)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".config", "gcloud", name)
}

// fromFile accepts all types that package oauth2 accepts: the file belongs to the operator of the process.
func (s *session) fromFile(ctx context.Context, path string, data []byte, scope string) (identity, error) {
	id := identity{name: "the process (from " + path + ")"}
	st := step{stepFile, ""}
	var file struct {
		Type  google.CredentialsType `json:"type"`
		Email string                 `json:"client_email"`
	}
	if json.Unmarshal(data, &file) != nil {
		return id, s.fail(ctx, st, id, errors.New("the file holds no JSON"))
	}
	if file.Email != "" {
		id.name = fmt.Sprintf("the process (%s, from %s)", file.Email, path)
	}
	if file.Type == google.ImpersonatedServiceAccount {
		scope = scopeAll // The scope is also the first token's, which has to impersonate.
	}
	s.wire.failure = nil
	c, err := google.CredentialsFromJSONWithType(s.wire.context(ctx), data, file.Type, scope)
	if err != nil {
		return id, s.fail(ctx, st, id, err)
	}
	return s.exchange(ctx, st, id, c.TokenSource)
}

// metadataAddress is the fixed address of metadata servers. It is not looked up by name, because that can take long if
// there is no such server, and the name could be resolved wrongly.
// https://cloud.google.com/compute/docs/metadata/overview
const metadataAddress = "169.254.169.254"

// metadataTimeout is sufficient for a server on the same machine. If there is no server, packets may be dropped
// without a response.
const metadataTimeout = 5 * time.Second

func (s *session) fromMetadata(ctx context.Context, scope, file string) (identity, error) {
	host := os.Getenv("GCE_METADATA_HOST")
	known := host != ""
	if !known {
		host = metadataAddress
	}
	id := identity{name: "the process (from the metadata server at " + host + ")"}
	st := step{stepMetadata, ""}
	limited, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	// Serverless platforms restrict the token to the scope; the tokens of machines have the machine's scopes.
	address := "http://" + host + "/computeMetadata/v1/instance/service-accounts/default/token?scopes=" + url.QueryEscape(scope)
	req, err := http.NewRequestWithContext(limited, http.MethodGet, address, nil)
	if err != nil {
		return id, s.fail(ctx, st, id, err)
	}
	req.Header.Set("Metadata-Flavor", "Google")
	w := &wire{ctx: limited, google: s.wire.direct, direct: s.wire.direct}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	start := time.Now()
	header, err := w.json(req, &answer)
	s.wire.failure = w.failure
	switch {
	case err != nil && !known && ctx.Err() == nil && nobodyThere(err):
		return id, s.error(registry.ErrNoIdentity, noIdentityHint, 0, fmt.Errorf(
			"the process has no identity of Google: GOOGLE_APPLICATION_CREDENTIALS is not set, there is no %s, and no metadata server: %w", file, err))
	case header != nil && header.Get("Metadata-Flavor") != "Google":
		return id, s.error(registry.ErrNoIdentity, noIdentityHint, 0, fmt.Errorf("the server at %s is not a metadata server of Google", host))
	case err != nil:
		return id, s.fail(ctx, st, id, err)
	}
	var expires time.Time
	if answer.ExpiresIn > 0 {
		expires = start.Add(time.Duration(answer.ExpiresIn) * time.Second)
	}
	return s.hold(st, id, answer.AccessToken, time.Time{}, expires)
}

// nobodyThere reports whether the error means that there is no metadata server. A server that refuses the connection
// exists, but is not ready.
func nobodyThere(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial" && !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, context.DeadlineExceeded)
}
