package validate

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

const (
	// knownPart is the length of the parts by which a secret that was cut is recognized: its start, its end, and any part of
	// twice this length.
	knownPart = 16
	// minWithheld is the minimum length of a secret that is searched for in texts with words of this package. A shorter one
	// would be found in many of them, and is searched for only in texts that are a server's alone.
	minWithheld = 8
	// maxWithheld is the number of bytes of a secret that are searched for, because a token may have megabytes.
	maxWithheld = 8 << 10
)

// without returns untrusted text, or nothing if the text contains the authorization that was sent to its server.
func (a authorization) without(text string) string {
	if a.isIn(text, 1) {
		return ""
	}
	return text
}

// isIn reports whether the text contains a secret of at least that length, in one of the forms in which servers and this
// package write texts, or a part of it.
func (a authorization) isIn(text string, length int) bool {
	text = strings.ToLower(text[:min(len(text), maxErrorBody)])
	for _, secret := range []credentials.Secret{a.value, a.password} {
		if text == "" || secret.Len() < length || len(text) < knownPart && isLongWord(secret) {
			continue
		}
		for _, form := range secretForms(secret.Reveal()[:min(secret.Len(), maxWithheld)]) {
			if len(form) <= knownPart {
				if strings.Contains(text, form) {
					return true
				}
				continue
			}
			for i := 0; i < len(form); i += knownPart {
				start := min(i, len(form)-knownPart)
				if strings.Contains(text, form[start:start+knownPart]) {
					return true
				}
			}
		}
	}
	return false
}

// isLongWord reports whether all forms of the secret are longer than knownPart.
func isLongWord(secret credentials.Secret) bool {
	plain := secret.Reveal()
	return len(plain) > knownPart && !strings.ContainsFunc(plain, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// secretForms returns the forms of a secret, in lower case.
func secretForms(plain string) []string {
	quoted, _ := json.Marshal(plain)
	var all []string
	for _, form := range []string{
		plain, cleanLine(plain, len(plain)+4), url.QueryEscape(plain), url.PathEscape(plain),
		base64.StdEncoding.EncodeToString([]byte(plain)), base64.URLEncoding.EncodeToString([]byte(plain)),
		strings.Trim(strconv.Quote(plain), `"`), strings.Trim(string(quoted), `"`),
	} {
		if form != "" {
			all = append(all, strings.ToLower(form))
		}
	}
	return all
}

// A sentLogins holds the logins and tokens that were sent for a result. They are left out of the result, because a
// server may write what it received into any part of its responses.
type sentLogins struct{ all []authorization }

func (s *sentLogins) add(list ...authorization) { s.all = append(s.all, list...) }

// isIn reports whether the text contains what was sent. The object of the operation is in every text, so a secret that
// is in it does not count.
func (s *sentLogins) isIn(text string, object func() string) bool {
	return slices.ContainsFunc(s.all, func(a authorization) bool { return a.isIn(text, minWithheld) && !a.isIn(object(), minWithheld) })
}

// leaveOut leaves what was sent out of the texts of the result. The texts of exchanges are filtered when the response
// arrives.
func (s *sentLogins) leaveOut(r *Result, object func() string) {
	r.Err = s.outOf(r.Err, object)
	for i := range r.Attempts {
		r.Attempts[i].Err = s.outOf(r.Attempts[i].Err, object)
	}
	for i := range r.Runtimes {
		r.Runtimes[i].Err = s.outOf(r.Runtimes[i].Err, object)
	}
	for i, text := range r.Warnings {
		if s.isIn(text, object) {
			r.Warnings[i] = "a warning is left out, because the registry wrote the login into it"
		}
	}
	var platforms []Platform
	for _, p := range r.Platforms {
		if !s.isIn(p.String(), object) {
			platforms = append(platforms, p)
		}
	}
	r.Platforms = platforms
}

// outOf returns the error, or a copy without the texts that contain what was sent.
func (s *sentLogins) outOf(err error, object func() string) error {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok || e.Code == registry.ErrCanceled || !s.isIn(err.Error(), object) {
		return err
	}
	clean := *e
	if s.isIn(clean.Hint, object) {
		clean.Hint = ""
	}
	if e.Err != nil && s.isIn(clean.Error(), object) {
		clean.Wait, clean.Err = e.RetryAfter(), errors.New("the response contains the login that was sent, and is left out")
	}
	return &clean
}
