// Benchmarks beside the peers, which nobody else has to download.
module github.com/regcred/regcred/benchmarks/validate

go 1.26.0

require (
	github.com/google/go-containerregistry v0.22.1
	github.com/regclient/regclient v0.11.7
	github.com/regcred/regcred v0.0.0
	oras.land/oras-go/v2 v2.7.0
)

require (
	github.com/docker/cli v29.9.3+incompatible // indirect
	github.com/docker/docker-credential-helpers v0.9.3 // indirect
	github.com/docker/libtrust v0.0.0-20160708172513-aabc10ec26b7 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
	github.com/opencontainers/image-spec v1.1.1 // indirect
	github.com/sirupsen/logrus v1.10.2 // indirect
	github.com/ulikunitz/xz v0.5.17 // indirect
	golang.org/x/net v0.55.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/regcred/regcred => ../..
