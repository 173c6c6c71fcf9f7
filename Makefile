# What one types most often. scripts/test is the whole truth; make is not needed for it.

.DEFAULT_GOAL := help
.PHONY: help test short fuzz bench golden node demo

help: ## this list
	@sed -n 's/^\([a-z]*\): ## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

test: ## every check and test
	scripts/test

short: ## the quick tests of the root module
	go test -short ./...

fuzz: ## each fuzz target of the root module for FUZZTIME (10s)
	scripts/fuzz $(or $(FUZZTIME),10s)

bench: ## the benchmarks beside the peers; see docs/benchmarks.md
	for dir in benchmarks/*/; do (cd $$dir && go test -run '^$$' -bench . -benchmem ./...); done

golden: ## write the expected outputs anew; read the diff before you commit it
	go test ./pullsecret/... -update

node: ## pull on a real kubelet and containerd; needs root
	scripts/kubernetes etcd kube-apiserver kube-controller-manager kubelet
	cd internal/node && REGCRED_REQUIRE_TOOLS=1 go test -count=1 -v -timeout 10m .

demo: ## the operator at work, aloud, on a real API server
	scripts/kubernetes
	cd examples/operator && go run ./demo
