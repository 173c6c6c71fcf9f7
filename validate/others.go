package validate

import (
	"fmt"
	"net/http"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/regcred/regcred/registry"
)

// An observation holds the responses of an attempt, so that they can be judged by the rules of runtimes other than the
// one whose requests were sent.
type observation struct {
	ping  *response
	login choice    // The choice for the request for the manifest.
	token *token    // The token that was requested by GET; nil if there was none.
	head  *response // The response to HEAD.

	manifest  *response // The response to GET; nil if there was none.
	mediaType string
	entries   []indexEntry // Of an index.
	images    []typedManifest
}

type typedManifest struct {
	manifest  *v1.Manifest
	mediaType types.MediaType
}

func (t *trace) sawLogin(ping *response, l login, tok *token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen.ping, t.seen.login = ping, l.choice
	if tok != nil {
		t.seen.token = tok
	}
}

// objection returns the reason why the runtime would not pull the image with the observed responses; nil if they show
// none.
func (r *runtimeRules) objection(seen *observation, platforms []Platform) *registry.Error {
	if seen.ping == nil {
		return nil
	}
	if !r.allowsPing(seen.ping) {
		return r.incompatible(registry.ErrPing, seen.ping.ex, fmt.Sprintf("the response to GET /v2/ is %d", seen.ping.status), "")
	}
	if r.pingFirst {
		picked, err := choice{}, (*registry.Error)(nil)
		if r.order != basicWins || seen.ping.status == http.StatusUnauthorized {
			picked, err = r.choose(seen.ping)
		}
		switch {
		case err != nil:
			return err
		case picked.scheme == "" && seen.login.scheme != "":
			return r.incompatible(registry.ErrChallenge, seen.ping.ex,
				"GET /v2/ requires no login, and the manifest does", "")
		case picked.scheme != seen.login.scheme && seen.login.scheme != "", picked.basic:
			return r.incompatible(registry.ErrChallenge, seen.ping.ex,
				fmt.Sprintf("%s logs in by another of the challenges", r.runtime), "")
		}
	}
	if seen.token != nil {
		if err := seen.token.objections[r]; err != nil {
			return err
		}
	}
	if h := seen.head; h != nil && r.head == headHint {
		switch {
		case r.headType && h.header.Get("Content-Type") == "":
			return r.incompatible(registry.ErrMediaType, h.ex, "the response to HEAD has no Content-Type", "")
		case r.headLength && h.length < 0:
			return r.incompatible(registry.ErrHEAD, h.ex, "the response to HEAD has no Content-Length", "")
		}
	}
	return r.objectionToContent(seen, platforms)
}

func (r *runtimeRules) objectionToContent(seen *observation, platforms []Platform) *registry.Error {
	if seen.manifest == nil {
		return nil
	}
	mediaType := r.mediaType(seen.manifest)
	if !isManifest(mediaType) {
		return r.incompatible(registry.ErrMediaType, seen.manifest.ex,
			fmt.Sprintf("the manifest is sent with the Content-Type %q", seen.manifest.cite(mediaType, 100)), "")
	}
	if err := r.checkManifest(seen.manifest, mediaType); err != nil {
		return err
	}
	for _, l := range r.lines {
		for _, p := range platforms {
			if seen.entries != nil && len(r.selectEntries(l, p, seen.mediaType, seen.entries)) == 0 {
				return r.platformMissing(l, platforms, seen.entries, []string{p.String()}, nil)
			}
		}
		for _, m := range seen.images {
			if _, err := r.typesOf(l, m.manifest, m.mediaType, seen.entries != nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// warnOthers adds a warning for each other runtime that would not pull the image with the observed responses.
func (r *Result) warnOthers(own *runtimeRules, seen *observation, platforms []Platform) {
	for _, rules := range runtimeTable {
		if rules == own {
			continue
		}
		if err := rules.objection(seen, platforms); err != nil {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s does not pull this image, or does not run it: %v", rules.runtime, err.Err))
		}
	}
}
