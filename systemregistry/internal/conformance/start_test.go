package conformance_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry"
)

func TestMain(m *testing.M) {
	logrus.SetLevel(logrus.PanicLevel) // Distribution logs each request there.
	if text := os.Getenv(replicaEnv); text != "" {
		fmt.Println(serveReplica(text))
		return
	}
	os.Exit(m.Run())
}

var rootPassword = credentials.NewSecret("password of root")

// running is a registry that serves on loopback until the test ends.
type running struct {
	systemregistry.Ready
	Host string
	// CAFile is a file with the certificate of the registry's authority.
	CAFile string
}

func start(t *testing.T, s systemregistry.Server) running {
	t.Helper()
	s.Dir, s.Admin, s.AdminPassword = t.TempDir(), "root", rootPassword
	if s.Addr == "" {
		s.Addr = "127.0.0.1:0"
	}
	ready := make(chan systemregistry.Ready, 1)
	s.OnReady = func(r systemregistry.Ready) { ready <- r }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	select {
	case r := <-ready:
		u, err := url.Parse(r.URL)
		require.NoError(t, err)
		file := filepath.Join(t.TempDir(), "ca.pem")
		require.NoError(t, os.WriteFile(file, []byte(r.CA), 0o600))
		return running{r, u.Host, file}
	case err := <-ended:
		ended <- err
		t.Fatal(err)
		return running{}
	}
}
