package main

import (
	"fmt"
	"time"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// progress tells how far the checks have come, every few seconds once they take long.
func (c *command) progress(last time.Time) func(validate.Progress) {
	return func(p validate.Progress) {
		if now := time.Now(); now.Sub(last) >= 3*time.Second {
			last = now
			fmt.Fprintf(c.stderr, "%d of %d images checked\n", p.Done, p.Total)
		}
	}
}

// report says of each login and image what came of it.
func (c *command) report(request regcred.Request, outcome regcred.Outcome) {
	for i, result := range outcome.Logins {
		c.line("login", request.Profiles[i].Name, "works", result)
	}
	for i, result := range outcome.Images {
		by := "with " + result.Candidate
		if result.Anonymous {
			by = "without a login"
		}
		c.line("image", request.Images[i], "can be pulled "+by+", "+result.Digest, result)
	}
}

func (c *command) line(what, name, well string, result validate.Result) {
	if result.Err == nil {
		fmt.Fprintf(c.stderr, "ok    %s %s: %s\n", what, name, well)
	} else {
		fmt.Fprintf(c.stderr, "FAIL  %s %s: %v\n", what, name, result.Err)
	}
	for _, warning := range result.Warnings {
		fmt.Fprintf(c.stderr, "      warning: %s\n", warning)
	}
}

// exitCode tells what is certain from what may be otherwise in a while.
func (c *command) exitCode(outcome regcred.Outcome, err error) int {
	if len(outcome.Logins)+len(outcome.Images) == 0 { // Nobody was asked.
		fmt.Fprintln(c.stderr, "pipeline:", err)
		return badInput
	}
	if registry.Temporary(err) {
		return uncertain
	}
	return refuted
}

func (c *command) print(secret pullsecret.Secret) int {
	manifest, err := secret.YAML()
	if c.format == "json" {
		manifest, err = secret.JSON()
	}
	if err == nil {
		_, err = c.stdout.Write(append(manifest, '\n'))
	}
	if err != nil {
		fmt.Fprintln(c.stderr, "pipeline:", err)
		return refuted
	}
	return proven
}
