package kube_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// A fleet has namespaces with a service account and a pull secret of another owner, and one more namespace that no
// target selects. Its passwords are numbers, in the order of issue.
type fleet struct {
	world
	name       string
	namespaces []string
	password   atomic.Int64
	theirs     map[string]string // The versions of others' objects, by namespace. They must never change.
}

func newFleet(t *testing.T, config *rest.Config, name string, n int) *fleet {
	t.Helper()
	client, err := kube.NewClient(config)
	require.NoError(t, err)
	f := &fleet{world: world{client}, name: name}
	for i := range n {
		f.namespaces = append(f.namespaces, fmt.Sprintf("%s-%d", name, i))
	}
	for _, ns := range append(f.namespaces, f.outside()) {
		require.NoError(t, f.CreateNamespace(t.Context(), ns, nil))
		require.NoError(t, f.WriteSecret(t.Context(), ns, injecttest.SecretObject{
			Name: "theirs", Type: pullsecret.SecretType, Data: map[string][]byte{pullsecret.SecretKey: []byte(`{"auths":{}}`)},
		}))
		require.NoError(t, f.WriteAccount(t.Context(), ns, injecttest.AccountObject{Name: "default", PullSecrets: []string{"theirs"}}))
	}
	f.theirs, err = f.foreign(t)
	require.NoError(t, err)
	return f
}

func (f *fleet) outside() string { return "outside-" + f.name }

// foreign returns the versions of others' objects.
func (f *fleet) foreign(t *testing.T) (map[string]string, error) {
	t.Helper()
	versions := make(map[string]string)
	secrets, err := f.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=theirs"})
	if err != nil {
		return nil, err
	}
	for _, s := range secrets.Items {
		if s.Namespace == f.outside() || slices.Contains(f.namespaces, s.Namespace) {
			versions[s.Namespace] = string(s.UID) + " " + s.ResourceVersion
		}
	}
	account, err := f.CoreV1().ServiceAccounts(f.outside()).Get(t.Context(), "default", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	versions["account"] = account.ResourceVersion
	return versions, nil
}

// controller returns a Controller that publishes the result of password as the secret "regcred".
func (f *fleet) controller(t *testing.T, config *rest.Config, password func() int64) *kube.Controller {
	t.Helper()
	client, err := kube.NewClient(config)
	require.NoError(t, err)
	return newController(client, f.name, "regcred", password)
}

// next issues a password, and returns an issuer that always returns this one.
func (f *fleet) next() func() int64 {
	n := f.password.Add(1)
	return func() int64 { return n }
}

func newController(client kubernetes.Interface, name, secret string, password func() int64) *kube.Controller {
	issue := func(context.Context, registry.Profile) (credentials.Credential, error) {
		n := password()
		at := time.Unix(1_700_000_000+n, 0)
		return credentials.Credential{
			Username: "robot", Password: credentials.NewSecret(strconv.FormatInt(n, 10)), IssuedAt: at, ExpiresAt: at.AddDate(9, 0, 0),
		}, nil
	}
	cluster := &kube.Cluster{Client: client, Owner: name}
	target := inject.Target{
		Name: secret,
		Profiles: []registry.Profile{{
			Name: "team", Kind: registry.Custom, Endpoint: "registry.example.com",
			Login: credentials.Login{Username: "u", Password: credentials.NewSecret("p")},
		}},
		Namespaces: inject.Selection{Names: []string{name + "-*"}},
		Accounts:   inject.Selection{Names: []string{"default"}},
	}
	return &kube.Controller{
		Cluster: cluster,
		Syncer:  &inject.Syncer{Owner: name, Credential: issue},
		Targets: func(context.Context) ([]inject.Target, error) { return []inject.Target{target}, nil },
	}
}

// look returns the published passwords, by namespace and secret. It fails if it finds a state that is never allowed:
// an empty or partial secret, a link without a secret, a change to others' objects.
func (f *fleet) look(t *testing.T) map[string]int64 {
	t.Helper()
	found, err := f.tryLook(t)
	require.NoError(t, err)
	return found
}

// tryLook is look for an API that may fail, whose errors it returns.
func (f *fleet) tryLook(t *testing.T) (map[string]int64, error) {
	t.Helper()
	image, err := registry.ParseImage("registry.example.com/app")
	require.NoError(t, err)
	found := make(map[string]int64)
	for _, ns := range f.namespaces {
		// Read the account first: a secret that it names must exist then, or have been unlinked since.
		account, err := f.Account(t.Context(), ns, "default")
		if err != nil {
			return nil, err
		}
		require.Equal(t, "theirs", account.PullSecrets[0])
		secrets, err := f.CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		there := []string{"theirs"}
		for _, s := range secrets.Items {
			if s.Name == "theirs" {
				continue
			}
			there = append(there, s.Name)
			config, err := pullsecret.Parse(s.Data[pullsecret.SecretKey])
			require.NoError(t, err)
			matches := config.Match(image)
			require.Len(t, matches, 1)
			found[ns+"/"+s.Name], err = strconv.ParseInt(matches[0].Credential.Password.Reveal(), 10, 64)
			require.NoError(t, err)
		}
		again, err := f.Account(t.Context(), ns, "default")
		if err != nil {
			return nil, err
		}
		for _, name := range account.PullSecrets {
			if slices.Contains(again.PullSecrets, name) {
				require.Contains(t, there, name, "an account of %s names a secret that is not there", ns)
			}
		}
	}
	theirs, err := f.foreign(t)
	if err != nil {
		return nil, err
	}
	require.Equal(t, f.theirs, theirs)
	return found, nil
}

// converges waits until each namespace has only this secret, with the newest password, and it is linked.
func (f *fleet) converges(t *testing.T, secret string) {
	t.Helper()
	password, began := f.password.Load(), time.Now()
	for {
		why := f.differs(t, secret, password)
		if why == "" {
			return
		}
		require.Less(t, time.Since(began), 2*time.Minute, why)
		time.Sleep(100 * time.Millisecond)
	}
}

// differs describes the first difference from the desired state, or why the API does not show it; empty if there is none.
func (f *fleet) differs(t *testing.T, secret string, password int64) string {
	t.Helper()
	found, err := f.tryLook(t)
	if err != nil {
		return err.Error()
	}
	for _, ns := range f.namespaces {
		account, err := f.Account(t.Context(), ns, "default")
		if err != nil {
			return err.Error()
		}
		if got := found[ns+"/"+secret]; got != password {
			return fmt.Sprintf("%s has password %d, not %d", ns, got, password)
		}
		if !slices.Equal([]string{"theirs", secret}, account.PullSecrets) {
			return fmt.Sprintf("the account of %s names %v", ns, account.PullSecrets)
		}
	}
	if len(found) != len(f.namespaces) {
		return fmt.Sprintf("there are %d secrets in %d namespaces", len(found), len(f.namespaces))
	}
	return ""
}

// seeded returns a random source, with the same seed in each run. Set REGCRED_SEED to another seed, or to "random".
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := setting(t, "REGCRED_SEED", 1, func(text string) (int, error) {
		if text == "random" {
			return rand.Int(), nil
		}
		return strconv.Atoi(text)
	})
	t.Logf("REGCRED_SEED=%d", seed)
	return rand.New(rand.NewPCG(uint64(seed), 0))
}

// nap sleeps for a random time that is shorter than most.
func nap(random *rand.Rand, most time.Duration) {
	time.Sleep(time.Duration(random.Int64N(int64(most))))
}

func setting[T any](t *testing.T, name string, usual T, parse func(string) (T, error)) T {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	value, err := parse(text)
	require.NoError(t, err)
	return value
}

// begin starts a Controller, and returns the function that stops it.
func begin(t *testing.T, c *kube.Controller) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Start(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	return stop
}

// An API server is killed in the middle of a rotation.
func TestServersDie(t *testing.T) {
	random := seeded(t)
	p := newPlane(t)
	f := newFleet(t, p.config, "die", 40)
	f.password.Store(1)
	c := f.controller(t, p.config, f.password.Load)
	begin(t, c)
	f.converges(t, "regcred")
	for name, dies := range map[string]func(){
		"API server": func() { p.api.kill(); p.startAPI() },
		"etcd":       func() { p.etcd.kill(); p.startEtcd(); p.readyAPI() },
	} {
		t.Run(name, func(t *testing.T) {
			f.password.Add(1)
			c.Wake()
			nap(random, 60*time.Millisecond)
			dies()
			f.converges(t, "regcred")
		})
	}
}

// An unkind API responds to some writes with an error, and to some late.
type unkind struct {
	next  http.RoundTripper
	count atomic.Int64
}

func (u *unkind) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		return u.next.RoundTrip(r)
	}
	answer := func(status int, reason metav1.StatusReason) (*http.Response, error) {
		body := fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, status)
		header := http.Header{"Content-Type": {"application/json"}, "Retry-After": {"1"}}
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	switch u.count.Add(1) % 6 {
	case 0:
		return answer(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
	case 1:
		return answer(http.StatusConflict, metav1.StatusReasonConflict)
	case 2:
		return nil, errors.New("connection reset")
	case 3:
		response, err := u.next.RoundTrip(r) // The change is made, but the response is lost.
		if err == nil {
			response.Body.Close()
		}
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	case 4:
		time.Sleep(200 * time.Millisecond)
	}
	return u.next.RoundTrip(r)
}

func TestUnkindAPI(t *testing.T) {
	t.Parallel() // It waits most of the time.
	f := newFleet(t, needAPI(t), "unkind", 20)
	config := rest.CopyConfig(needAPI(t))
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &unkind{next: next} })
	f.password.Store(1)
	c := f.controller(t, config, f.password.Load)
	begin(t, c)
	f.converges(t, "regcred")
	for range 2 {
		f.password.Add(1)
		c.Wake()
		f.converges(t, "regcred")
	}
}

// Another client rewrites accounts, and deletes and changes secrets, all at once: for a while, or for the time in
// REGCRED_MEDDLING.
func TestMeddler(t *testing.T) {
	t.Parallel() // It waits most of the time.
	random := seeded(t)
	f := newFleet(t, needAPI(t), "meddler", 8)
	f.password.Store(1)
	c := f.controller(t, needAPI(t), f.password.Load)
	begin(t, c)
	f.converges(t, "regcred")
	ctx := t.Context()
	for end := time.Now().Add(setting(t, "REGCRED_MEDDLING", 15*time.Second, time.ParseDuration)); time.Now().Before(end); {
		ns := f.namespaces[random.IntN(len(f.namespaces))]
		s, err := f.Secret(ctx, ns, "regcred")
		require.NoError(t, err)
		switch action := random.IntN(4); {
		case action == 0:
			names := [][]string{{"theirs"}, {"theirs", "regcred", "others"}, {"theirs", "regcred"}}[random.IntN(3)]
			err = f.WriteAccount(ctx, ns, injecttest.AccountObject{Name: "default", PullSecrets: names})
		case action == 1:
			f.password.Add(1)
			c.Wake()
		case s == nil: // There is no secret to delete or to change.
		case action == 2:
			err = f.DeleteSecret(ctx, ns, "regcred")
		case action == 3:
			s.Data = map[string][]byte{pullsecret.SecretKey: []byte(`{"auths":{}}`), "theirs": []byte("x")}
			err = f.WriteSecret(ctx, ns, *s)
		}
		if !apierrors.IsNotFound(err) { // The controller has deleted it first.
			require.NoError(t, err)
		}
		nap(random, 100*time.Millisecond)
	}
	// At the end, the client cleans up. Before that, the Controller must have noticed the deletions, or it may link a
	// secret again.
	for began := time.Now(); !f.noticed(t, c.Cluster); time.Sleep(20 * time.Millisecond) {
		require.Less(t, time.Since(began), 2*time.Minute, "the watches do not deliver what the client did")
	}
	for _, ns := range f.namespaces {
		require.NoError(t, f.WriteAccount(ctx, ns, injecttest.AccountObject{Name: "default", PullSecrets: []string{"theirs"}}))
	}
	f.password.Add(1)
	c.Wake()
	f.converges(t, "regcred")
}

// noticed reports whether the Cluster shows the owner's secrets and the accounts as they are now.
func (f *fleet) noticed(t *testing.T, c *kube.Cluster) bool {
	t.Helper()
	return f.shows(t, c, f.name, f.namespaces)
}

// A leader loses its lease in the middle of a rotation, while another leader takes over with a newer credential.
func TestLeaderChanges(t *testing.T) {
	random := seeded(t)
	f := newFleet(t, needAPI(t), "leader", 30)
	last := make(map[string]int64)
	lost := func() {}
	for range 8 {
		stop := begin(t, f.controller(t, needAPI(t), f.next()))
		lost() // The previous leader may still be in the middle of a write.
		nap(random, 150*time.Millisecond)
		lost = stop
		last = f.noWorse(t, last)
	}
	begin(t, f.controller(t, needAPI(t), f.next()))
	lost()
	f.converges(t, "regcred")
}

// noWorse calls look, and fails if a secret holds an older credential than the last time.
func (f *fleet) noWorse(t *testing.T, last map[string]int64) map[string]int64 {
	t.Helper()
	found := f.look(t)
	for name, n := range found {
		require.GreaterOrEqual(t, n, last[name], "an older credential has replaced a newer one in %s", name)
	}
	return found
}

// settle waits until nothing changes any longer: the API server may still make a change that a process requested before
// it was killed.
func (f *fleet) settle(t *testing.T) {
	t.Helper()
	for before, began := f.look(t), time.Now(); ; {
		time.Sleep(50 * time.Millisecond)
		now := f.look(t)
		if maps.Equal(before, now) {
			return
		}
		require.Less(t, time.Since(began), 2*time.Minute, "something goes on changing secrets")
		before = now
	}
}

// A process is killed at random points, and restarts with a newer credential, sometimes for a secret of another name.
// No secret that is needed is removed, and at the end no orphan is left. REGCRED_KILLS is the number of kills.
func TestProcessDies(t *testing.T) {
	random := seeded(t)
	f := newFleet(t, needAPI(t), "killed", 20)
	kubeconfig := writeKubeconfig(t, needAPI(t))
	last := make(map[string]int64)
	start := func(i int) *exec.Cmd {
		command := exec.Command(os.Args[0])
		command.Stderr = os.Stderr
		out, err := command.StdoutPipe()
		require.NoError(t, err)
		task := []string{kubeconfig, f.name, secretOf(i), strconv.FormatInt(f.password.Add(1), 10)}
		command.Env = append(os.Environ(), childEnv+"="+strings.Join(task, "|"))
		require.NoError(t, command.Start())
		_, err = out.Read(make([]byte, 1)) // It calls for the password, and then it writes.
		require.NoError(t, err)
		return command
	}
	kills := setting(t, "REGCRED_KILLS", 15, strconv.Atoi)
	changes, i := 0, 0
	for ; i < kills || changes == 0 && i < 10*kills; i++ { // On a slow machine, all may be killed before they write.
		command := start(i)
		nap(random, 200*time.Millisecond)
		require.NoError(t, command.Process.Kill())
		require.Error(t, command.Wait())
		f.settle(t)
		found := f.noWorse(t, last)
		for name := range last {
			if strings.HasSuffix(name, "/"+secretOf(i)) {
				require.Contains(t, found, name, "a secret is gone that is wanted")
			}
		}
		if !maps.Equal(found, last) {
			changes++
		}
		last = found
	}
	t.Logf("%d of %d processes had written something when they were killed", changes, i)
	require.NotZero(t, changes)
	command := start(i)
	defer func() {
		require.NoError(t, command.Process.Kill())
		require.Error(t, command.Wait())
	}()
	f.converges(t, secretOf(i))
}

// secretOf returns the name of the secret that the process publishes.
func secretOf(i int) string { return fmt.Sprintf("regcred-%d", i/4%2) }

const childEnv = "REGCRED_TEST_CONTROLLER"

// child is the main function of the process that is killed.
func child(text string) error {
	part := strings.Split(text, "|")
	config, err := clientcmd.BuildConfigFromFlags("", part[0])
	if err != nil {
		return err
	}
	client, err := kube.NewClient(config)
	if err != nil {
		return err
	}
	password, err := strconv.ParseInt(part[3], 10, 64)
	if err != nil {
		return err
	}
	issue := func() int64 {
		os.Stdout.WriteString(".")
		return password
	}
	return newController(client, part[1], part[2], issue).Start(context.Background())
}

func writeKubeconfig(t *testing.T, config *rest.Config) string {
	t.Helper()
	path := t.TempDir() + "/kubeconfig"
	require.NoError(t, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	}, path))
	return path
}
