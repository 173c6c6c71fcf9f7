package dockerconfig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
)

// A Helper is a source that runs a program docker-credential-NAME, by the protocol of
// https://github.com/docker/docker-credential-helpers.
type Helper struct {
	// Name is the program's, without "docker-credential-": "ecr-login", "gcloud". It is looked for in the PATH. It has
	// to be set.
	Name string
	// Server is what the program is asked for. It has to be set.
	Server string
	// GoodFor is how long an answer is taken to be good, for the protocol does not tell. Zero means for ever; set it
	// for helpers whose passwords are short-lived.
	GoodFor time.Duration
}

// notFound is what all helpers print if they have no login, by errors.go of that repository.
const notFound = "credentials not found in native keychain"

// maxAnswer is much more than any token.
const maxAnswer = 1 << 20

// Credential runs the program. Its error is [credentials.ErrNoLogin] if the program has no login, and never holds what the program
// printed.
func (h Helper) Credential(ctx context.Context) (credentials.Credential, error) {
	c, err := h.run(ctx)
	if err != nil {
		return credentials.Credential{}, fmt.Errorf("docker-credential-%s, %s: %w", h.Name, h.Server, err)
	}
	return goodFor(c, h.GoodFor), nil
}

func (h Helper) run(ctx context.Context) (credentials.Credential, error) {
	if h.Name == "" || strings.ContainsAny(h.Name, `/\`) {
		return credentials.Credential{}, errors.New("not the name of a credential helper")
	}
	if ctx.Err() != nil {
		return credentials.Credential{}, context.Cause(ctx)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	out := &limited{left: maxAnswer, stop: stop}
	cmd := exec.CommandContext(running, "docker-credential-"+h.Name, "get")
	cmd.Stdin = strings.NewReader(h.Server)
	cmd.Stdout = out
	cmd.WaitDelay = time.Second // For a helper whose children hold its output open.
	err := cmd.Run()
	if ctx.Err() != nil {
		return credentials.Credential{}, context.Cause(ctx)
	}
	if err != nil && strings.TrimSpace(out.buf.String()) == notFound {
		return credentials.Credential{}, credentials.ErrNoLogin
	}
	if err != nil {
		return credentials.Credential{}, err
	}
	var answer struct {
		Username string
		Secret   credentials.Secret
	}
	if err := json.Unmarshal(out.buf.Bytes(), &answer); err != nil {
		return credentials.Credential{}, fmt.Errorf("answer is %w", ErrMalformed)
	}
	if answer.Username == "<token>" {
		return credentials.Credential{}, credentials.ErrIdentityToken
	}
	c := credentials.Credential{Username: answer.Username, Password: answer.Secret}
	return c, c.Validate(time.Now())
}

// limited keeps what is written, and stops the program that writes too much.
type limited struct {
	buf  bytes.Buffer // Not embedded: its ReadFrom would go past Write.
	left int
	stop func()
}

// Write fails beyond the limit.
func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		l.stop()
		return 0, errors.New("answer is too long")
	}
	return l.buf.Write(p)
}
