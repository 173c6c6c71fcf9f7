// Network is a network with one host, for the program of README.md: ghcr.io, with the image that the program checks. It
// prints the address of the proxy that leads into it, writes the certificate of its authority into the file that is its
// argument, and ends when its input does.
package main

import (
	"fmt"
	"io"
	"log"
	"os"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

func main() {
	network, err := fakenet.New()
	if err != nil {
		log.Fatal(err)
	}
	ghcr := &registrytest.Registry{
		Dialect:  registrytest.GHCR(),
		Accounts: []registrytest.Account{{Username: "acme-bot", Password: credentials.NewSecret("s3cret"), Pull: []string{"acme/*"}}},
	}
	if _, err := ghcr.Add("acme/shop:1.4", registrytest.Image{}); err != nil {
		log.Fatal(err)
	}
	network.HandleRegistry("ghcr.io", ghcr)
	if err := os.WriteFile(os.Args[1], []byte(network.CA), 0o600); err != nil {
		log.Fatal(err)
	}
	fmt.Println(network.URL)
	_, _ = io.Copy(io.Discard, os.Stdin)
	network.Close()
}
