package credentialslog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialslog"
	"github.com/regcred/regcred/credentials/credentialstest"
)

func TestLevels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		cache := credentials.Cache{Hooks: credentialslog.Hooks(logger)}
		issuer := &credentialstest.Issuer{Steps: []credentialstest.Step{{Life: time.Hour}, {Err: errors.New("outage")}}}
		src := cache.Source(credentials.Key{Issuer: "test", Scope: "a"}, issuer)
		for range 60 {
			_, err := src.Credential(t.Context())
			require.NoError(t, err)
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		require.Contains(t, out.String(), `level=DEBUG msg="credential issued" key=test/a#00000000`)
		require.Contains(t, out.String(), `level=WARN msg="credential not issued"`)
		require.Contains(t, out.String(), `level=ERROR msg="credential expires soon and cannot be renewed"`)
		require.Contains(t, out.String(), "failures=2 error=outage")
		require.NotContains(t, out.String(), "token-")
	})
}

func ExampleHooks() {
	handler := slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "took" || a.Key == "nextCall" {
			return slog.Attr{}
		}
		return a
	}})
	cache := credentials.Cache{Hooks: credentialslog.Hooks(slog.New(handler))}
	issuer := &credentialstest.Issuer{Steps: []credentialstest.Step{{Err: errors.New("role is not trusted")}}}
	_, err := cache.Credential(context.Background(), credentials.Key{Issuer: "ecr", Scope: "aws/eu-central-1"}, issuer)
	fmt.Println(err)
	// Output:
	// level=WARN msg="credential not issued" key=ecr/aws/eu-central-1#00000000 failures=1 error="role is not trusted"
	// role is not trusted
}
