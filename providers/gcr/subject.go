package gcr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/oauth2/google/externalaccount"

	"github.com/regcred/regcred/providers/internal/cloud"
)

// A subjectText is a token of another issuer, which Google's STS accepts. This package reads it, because package oauth2
// would read it without the profile's limits.
type subjectText string

// SubjectToken implements [externalaccount.SubjectTokenSupplier].
func (t subjectText) SubjectToken(context.Context, externalaccount.SupplierOptions) (string, error) {
	return string(t), nil
}

// subjectToken reads the token for each call, because its writer renews it.
func (s *session) subjectToken(ctx context.Context, from *tokenSource) (subjectText, error) {
	var text []byte
	var err error
	where := from.File
	if from.File != "" {
		text, err = cloud.ReadToken(from.File)
	} else {
		where = "the URL of the configuration"
		text, err = s.fetchSubject(ctx, from)
	}
	if err != nil {
		return "", err
	}
	token := string(text)
	if from.Format != nil && from.Format.Type == "json" {
		var fields map[string]any
		if json.Unmarshal(text, &fields) != nil {
			return "", fmt.Errorf("%s holds no JSON", where)
		}
		token, _ = fields[from.Format.Field].(string)
	}
	if token = strings.TrimSpace(token); token == "" {
		return "", fmt.Errorf("%s holds no token", where)
	}
	return subjectText(token), nil
}

// fetchSubject calls a service of the machine directly: the profile's proxy cannot reach it, and has no part in it.
func (s *session) fetchSubject(ctx context.Context, from *tokenSource) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.URL, nil)
	if err != nil {
		return nil, errors.New("the URL of the configuration cannot be read")
	}
	for name, value := range from.Headers {
		req.Header.Set(name, value)
	}
	w := &wire{ctx: ctx, google: s.wire.direct, direct: s.wire.direct}
	res, err := w.client().Do(req)
	if w.failure != nil {
		s.wire.failure = w.failure
		return nil, w.failure
	}
	if err != nil {
		return nil, errors.New("the URL of the configuration cannot be asked")
	}
	defer func() { _ = res.Body.Close() }()
	return io.ReadAll(res.Body) // The wire limits its size.
}
