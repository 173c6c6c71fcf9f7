package kube_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// A meter counts what goes through a configuration: requests but watches, and the bytes on the wire, those of watches
// among them. It does not count requests that a busy server postpones or fails (429 and 5xx), which are made again.
type meter struct{ writes, reads, up, down atomic.Int64 }

// A cost is what a pass took. Bytes and heap are in megabytes.
type cost struct {
	wall, server, own time.Duration // The last two are processor time.
	writes, reads     int64
	up, down, heap    float64
}

func (m *meter) through(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counting{next, m} })
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return countingConn{conn, m}, err
	}
	return config
}

// withToken returns a configuration with the token of a service account that has all rights, as a program in a cluster
// has one. With the client certificate of an administrator, the API server verifies signatures in each request, which is
// a tenth of its work.
func withToken(t *testing.T, admin kubernetes.Interface, config *rest.Config) *rest.Config {
	t.Helper()
	const namespace, name = "default", "program"
	accounts := admin.CoreV1().ServiceAccounts(namespace)
	_, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	token, err := accounts.CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	config = rest.AnonymousClientConfig(config)
	config.BearerToken = token.Status.Token
	program, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	everything := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "*", Group: "*", Resource: "*"},
	}}
	// The authorizer watches the bindings, and denies for a moment after one is created.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		answer, err := program.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), everything, metav1.CreateOptions{})
		require.NoError(t, err)
		if answer.Status.Allowed {
			return config
		}
		require.True(t, time.Now().Before(deadline), "the API server granted nothing within a minute")
	}
}

type counting struct {
	next http.RoundTripper
	*meter
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(r)
	if err == nil && (response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500) {
		return response, nil
	}
	switch {
	case r.Method != http.MethodGet:
		c.writes.Add(1)
	case r.URL.Query().Get("watch") == "": // A server on a busy machine ends watches, and they are resumed.
		c.reads.Add(1)
	}
	return response, err
}

type countingConn struct {
	net.Conn
	*meter
}

func (c countingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.down.Add(int64(n))
	return n, err
}

func (c countingConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.up.Add(int64(n))
	return n, err
}

// measure runs a pass. Its time is that until it returns; the rest is counted until the wire is quiet, for watches
// deliver later.
func (m *meter) measure(t *testing.T, pass func() error) cost {
	t.Helper()
	m.settle()
	writes, reads, up, down := m.writes.Load(), m.reads.Load(), m.up.Load(), m.down.Load()
	server, own, began := serverTime(t), ownTime(t), time.Now()
	require.NoError(t, pass())
	c := cost{wall: time.Since(began)}
	m.settle()
	c.server, c.own = serverTime(t)-server, ownTime(t)-own
	c.writes, c.reads = m.writes.Load()-writes, m.reads.Load()-reads
	c.up, c.down = float64(m.up.Load()-up)/1e6, float64(m.down.Load()-down)/1e6
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	c.heap = float64(memory.HeapAlloc) / 1e6
	return c
}

// settle waits until nothing has come for half a second.
func (m *meter) settle() {
	for seen := int64(-1); m.down.Load() != seen; {
		seen = m.down.Load()
		time.Sleep(500 * time.Millisecond)
	}
}

func ownTime(t *testing.T) time.Duration {
	var usage syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// serverTime is the processor time of the processes that this one has started: the API server and etcd.
func serverTime(t *testing.T) (sum time.Duration) {
	lists, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			continue // A thread that has ended.
		}
		for _, pid := range strings.Fields(string(children)) {
			stat, err := os.ReadFile("/proc/" + pid + "/stat")
			require.NoError(t, err)
			// proc_pid_stat(5): behind the name come 11 fields, and then these two, in hundredths of a second.
			fields := strings.Fields(string(stat[strings.LastIndex(string(stat), ")")+1:]))
			var user, system int64
			_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
			require.NoError(t, err)
			sum += time.Duration(user+system) * 10 * time.Millisecond
		}
	}
	return sum
}
