package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// A Subjects requests the tokens of service accounts from the Kubernetes API (TokenRequest), so that each tenant pulls
// with an identity of its own. It implements [providers.Subjects]. Set the fields before the first use; it is then
// safe for concurrent use.
//
// The right to create serviceaccounts/token is the right to act as the account. Grant it with [SubjectRole], which
// names the accounts, and not with a ClusterRole for all accounts. A Subjects must not be copied once in use.
type Subjects struct {
	// Client is the client for subjects that name no cluster, usually for the cluster that the program runs in. If
	// nil, such subjects are rejected.
	Client kubernetes.Interface
	// Clusters are further clusters, by the name in [credentials.ServiceAccount.Cluster].
	Clusters map[string]kubernetes.Interface

	// Allow reports whether a profile of the tenant may use the account. If nil, only profiles without a tenant may,
	// because the program's right covers the accounts of all tenants. With tenants, compare the account's cluster and
	// namespace with the cluster and namespaces of the tenant.
	Allow func(tenant string, account credentials.ServiceAccount) bool

	// Rate is the number of requests per second to one API server, and Burst the number of requests that may be made at
	// once after an idle period. Zero means 50 and 200. A cache limits the calls to each registry, so this limit matters
	// where many registries are used for the first time at once. A request waits for its turn for at most half of the
	// time that ctx allows, and fails with [registry.ErrRateLimited] if its turn comes later. A negative Rate means no
	// limit.
	Rate  float64
	Burst int

	mu    sync.Mutex
	paces map[string]*pace // By the name of the cluster.
}

var _ providers.Subjects = (*Subjects)(nil)

// minTokenLife is the shortest lifetime that an API server accepts: pkg/apis/authentication/validation of Kubernetes.
const minTokenLife = 10 * time.Minute

// SubjectToken requests a token of the account for exactly the audience of r. The API server may shorten the lifetime;
// the expiry in the token itself is authoritative.
//
// The error is a [registry.Error]: [registry.ErrNoIdentity] if the account or the cluster does not exist or the
// subject is not a service account, [registry.ErrDenied] if the tenant may not use it or the program has no right to
// request its tokens, [registry.ErrRateLimited] with Wait if its turn comes too late or the API server is busy,
// [registry.ErrCanceled] with the cause if ctx ends, otherwise an error of the API. Its wrapped cause is the API's error. It holds no token.
func (s *Subjects) SubjectToken(ctx context.Context, r providers.SubjectRequest) (credentials.Secret, error) {
	fail := func(code registry.Code, hint string, err error) (credentials.Secret, error) {
		return credentials.Secret{}, &registry.Error{Op: "request token", Ref: "of " + r.Subject.String(), Code: code, Hint: hint, Err: err}
	}
	account := r.Subject.Kubernetes
	client := s.Client
	switch {
	case account == nil:
		return fail(registry.ErrNoIdentity, "use a service account", errors.New("it is not a service account"))
	case account.Namespace == "":
		return fail(registry.ErrInvalid, "add the namespace of the account to the profile, or set it with Profile.ForNamespace", errors.New("the namespace is missing"))
	case r.Audience == "": // The API server would issue a token that is valid for itself.
		return fail(registry.ErrInvalid, "", errors.New("the audience is missing"))
	case s.Allow == nil && r.Profile.Tenant != "", s.Allow != nil && !s.Allow(r.Profile.Tenant, *account):
		return fail(registry.ErrDenied, "use a service account of your own namespace", fmt.Errorf("tenant %q may not use this account", r.Profile.Tenant))
	case account.Cluster != "":
		client = s.Clusters[account.Cluster]
	}
	if client == nil {
		return fail(registry.ErrNoIdentity, "use a cluster that this program knows", errors.New("the cluster is not known"))
	}
	if ctx.Err() != nil {
		return fail(registry.ErrCanceled, "", context.Cause(ctx))
	}
	if wait, err := s.turn(ctx, account.Cluster); err != nil {
		if wait == 0 {
			return fail(registry.ErrCanceled, "", err)
		}
		return credentials.Secret{}, &registry.Error{Op: "request token", Ref: "of " + r.Subject.String(), Code: registry.ErrRateLimited, Wait: wait, Err: err}
	}
	seconds := int64(max(r.Lifetime, minTokenLife) / time.Second)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{r.Audience}, ExpirationSeconds: &seconds}}
	response, err := client.CoreV1().ServiceAccounts(account.Namespace).CreateToken(ctx, account.Name, request, metav1.CreateOptions{})
	switch {
	case err == nil:
		return credentials.NewSecret(response.Status.Token), nil
	case ctx.Err() != nil:
		return fail(registry.ErrCanceled, "", context.Cause(ctx))
	case apierrors.IsNotFound(err):
		return fail(registry.ErrNoIdentity, "create the service account", err)
	case apierrors.IsForbidden(err):
		return fail(registry.ErrDenied, "let this program create serviceaccounts/token for this account, with the role that kube.SubjectRole returns", err)
	case apierrors.IsTooManyRequests(err):
		after, _ := apierrors.SuggestsClientDelay(err)
		return credentials.Secret{}, &registry.Error{
			Op: "request token", Ref: "of " + r.Subject.String(), Code: registry.ErrRateLimited, Wait: time.Duration(after) * time.Second, Err: err,
		}
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return fail(registry.ErrInvalid, "", err)
	}
	return fail(registry.ErrUnavailable, "", err)
}

// turn blocks until it is the turn of the request at the cluster. If the turn would come too late, it returns an
// error, and the time until then as wait. If ctx ends, wait is zero.
func (s *Subjects) turn(ctx context.Context, cluster string) (wait time.Duration, err error) {
	rate := option.OrOff(s.Rate, 50)
	if rate == 0 {
		return 0, nil
	}
	s.mu.Lock()
	if s.paces == nil {
		s.paces = make(map[string]*pace)
	}
	if s.paces[cluster] == nil {
		s.paces[cluster] = &pace{}
	}
	wait, ok := s.paces[cluster].reserve(rate, option.OrDefault(s.Burst, 200), turnWithin(ctx))
	s.mu.Unlock()
	if !ok {
		return wait, fmt.Errorf("more requests than %g a second wait for the API server", rate)
	}
	if wait == 0 {
		return 0, nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// SubjectRole returns a role, in the namespace of the accounts, that permits a program to request the tokens of these
// accounts and of no others. Bind it to the program's own account.
func SubjectRole(namespace, name string, accounts ...string) *rbacv1.Role {
	return &rbacv1.Role{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "Role"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}, ResourceNames: accounts,
		}},
	}
}
