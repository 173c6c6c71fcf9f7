module github.com/regcred/regcred/validate/mirrors

go 1.26.0

require (
	github.com/pelletier/go-toml/v2 v2.4.3
	github.com/regcred/regcred v0.0.0
	github.com/stretchr/testify v1.12.1
	go.yaml.in/yaml/v3 v3.0.6
)

require (
	github.com/google/go-containerregistry v0.22.1 // indirect
	golang.org/x/net v0.55.0 // indirect
)

replace github.com/regcred/regcred => ../..
