package snippets

// What the documentation imports beside the root module, so that go.mod has it.
import (
	_ "github.com/distribution/distribution/v3/registry/storage/driver/factory"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/s3-aws"
	_ "github.com/prometheus/client_golang/prometheus"
	_ "github.com/regcred/regcred"
	_ "github.com/regcred/regcred/credentials/credentialsotel"
	_ "github.com/regcred/regcred/credentials/credentialsprom"
	_ "github.com/regcred/regcred/credentials/orascredentials"
	_ "github.com/regcred/regcred/inject/injectotel"
	_ "github.com/regcred/regcred/inject/injectprom"
	_ "github.com/regcred/regcred/inject/kube"
	_ "github.com/regcred/regcred/systemregistry"
	_ "github.com/regcred/regcred/systemregistry/store/pgstore"
	_ "github.com/regcred/regcred/validate/mirrors"
	_ "go.opentelemetry.io/otel/attribute"
	_ "go.opentelemetry.io/otel/trace"
	_ "k8s.io/api/core/v1"
	_ "k8s.io/client-go/kubernetes/fake"
	_ "k8s.io/client-go/rest"
	_ "sigs.k8s.io/controller-runtime/pkg/client"
	_ "sigs.k8s.io/controller-runtime/pkg/manager"
)
