# What one types most often. scripts/test is the whole truth; make is not needed for it.

.PHONY: test short lint fuzz bench golden

test: ## every check and test
	scripts/test

short: ## the quick tests of the root module
	go test -short ./...

lint: ## the linters of .golangci.yml
	golangci-lint run ./...

fuzz: ## each fuzz target of the root module for FUZZTIME (10s)
	scripts/fuzz $(or $(FUZZTIME),10s)

bench: ## the benchmarks beside the peers; see docs/benchmarks.md
	for dir in benchmarks/*/; do (cd $$dir && go test -run '^$$' -bench . -benchmem ./...); done

golden: ## write the expected outputs anew; read the diff before you commit it
	go test ./pullsecret/... -update
