package helper

import (
	"context"
	"errors"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// Pod is the [credentials.Subject.Source] for the pod for which a kubelet calls the plugin:
//
//	{"subject": {"source": "pod"}}
const Pod = "pod"

type podToken struct{}

// PodSubjects provides the token of the pod for which a kubelet calls [Helper.Kubelet], to profiles whose subject has the
// source "pod". Give it to the providers as their Subjects. The kubelet's configuration names the audience:
// [KubeletConfig] writes it.
type PodSubjects struct {
	// Otherwise provides all other subjects. If nil, they are rejected.
	Fallback providers.Subjects
}

// SubjectToken returns the pod's token. The error is [registry.ErrNoIdentity] if the kubelet sent none.
func (s PodSubjects) SubjectToken(ctx context.Context, r providers.SubjectRequest) (credentials.Secret, error) {
	if r.Subject.Source != Pod {
		if s.Fallback == nil {
			return credentials.Secret{}, &registry.Error{
				Op: "get subject token", Ref: "of " + r.Subject.String(), Code: registry.ErrDenied, Hint: `use the source "pod"`,
				Err: errors.New("this program does not provide it"),
			}
		}
		return s.Fallback.SubjectToken(ctx, r)
	}
	token, _ := ctx.Value(podToken{}).(credentials.Secret)
	if token.IsZero() {
		return credentials.Secret{}, &registry.Error{
			Op: "get subject token", Ref: "of the pod", Code: registry.ErrNoIdentity,
			Hint: "set tokenAttributes with the audience in the kubelet's CredentialProviderConfig; a static pod has no service account",
			Err:  errors.New("the kubelet sent no service account token"),
		}
	}
	return token, nil
}

// usesPod reports whether the login's subject is the pod.
func usesPod(l credentials.Login) bool {
	s := subjectOf(l)
	return s != nil && s.Source == Pod
}

// subjectOf returns the subject of the login, or nil.
func subjectOf(l credentials.Login) *credentials.Subject {
	switch {
	case l.AWS != nil && l.AWS.WebIdentity != nil:
		return l.AWS.WebIdentity.Subject
	case l.Google != nil && l.Google.Federation != nil:
		return &l.Google.Federation.Subject
	case l.Azure != nil:
		return l.Azure.Subject
	case l.Federated != nil:
		return &l.Federated.Subject
	}
	return nil
}
