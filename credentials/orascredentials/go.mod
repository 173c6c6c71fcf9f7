module github.com/regcred/regcred/credentials/orascredentials

go 1.26.0

require (
	github.com/regcred/regcred v0.0.0
	github.com/stretchr/testify v1.12.1
	oras.land/oras-go/v2 v2.7.0
)

require (
	github.com/google/go-containerregistry v0.22.1 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
	github.com/opencontainers/image-spec v1.1.1 // indirect
	go.yaml.in/yaml/v3 v3.0.6 // indirect
	golang.org/x/net v0.55.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
)

replace github.com/regcred/regcred => ../..
