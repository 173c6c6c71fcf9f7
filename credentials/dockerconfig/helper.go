package dockerconfig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/docker/docker-credential-helpers/client"
	helpercredentials "github.com/docker/docker-credential-helpers/credentials"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// A Helper is a source that runs a program docker-credential-NAME with the protocol of
// https://github.com/docker/docker-credential-helpers.
type Helper struct {
	// Name is the name of the program without "docker-credential-": "ecr-login", "gcloud". It is searched in the PATH.
	// Required.
	Name string
	// Server is the server whose login the program returns. Required.
	Server string
	// GoodFor is the lifetime to assume for a credential, because the protocol has no expiry. Zero means that it never
	// expires; set it for helpers whose passwords are short-lived.
	GoodFor time.Duration
}

// maxAnswer is far larger than any token.
const maxAnswer = 1 << 20

// Credential runs the program. Its error wraps [credentials.ErrNoLogin] if the program has no login; a program that
// fails or is missing is a [registry.Error]. Errors never hold the output of the program, which may be a secret.
func (h Helper) Credential(ctx context.Context) (credentials.Credential, error) {
	c, err := h.run(ctx)
	if err != nil {
		return credentials.Credential{}, fmt.Errorf("docker-credential-%s, %s: %w", h.Name, h.Server, err)
	}
	return goodFor(c, h.GoodFor), nil
}

func (h Helper) run(ctx context.Context) (credentials.Credential, error) {
	if h.Name == "" || strings.ContainsAny(h.Name, `/\`) {
		return credentials.Credential{}, fmt.Errorf("%w: not the name of a credential helper", registry.ErrInvalid)
	}
	if ctx.Err() != nil {
		return credentials.Credential{}, context.Cause(ctx)
	}
	p := &program{ctx: ctx, name: "docker-credential-" + h.Name}
	answer, err := client.Get(func(args ...string) client.Program { p.args = args; return p }, h.Server)
	switch {
	case ctx.Err() != nil:
		return credentials.Credential{}, context.Cause(ctx)
	case p.err != nil && helpercredentials.IsErrCredentialsNotFound(err):
		return credentials.Credential{}, credentials.ErrNoLogin
	case p.err != nil: // The client's error quotes the output.
		return credentials.Credential{}, h.failed(p.err)
	case err != nil:
		return credentials.Credential{}, fmt.Errorf("answer is %w", ErrMalformed)
	case answer.Username == "<token>":
		return credentials.Credential{}, credentials.ErrIdentityToken
	case answer.Username == "" && answer.Secret == "":
		// Version 0.6 of docker-credential-pass, which Debian ships, returns this for an unknown server.
		return credentials.Credential{}, credentials.ErrNoLogin
	}
	c := credentials.Credential{Username: answer.Username, Password: credentials.NewSecret(answer.Secret)}
	return c, c.Validate(time.Now())
}

func (h Helper) failed(err error) error {
	e := &registry.Error{
		Op: "run helper", Code: registry.ErrUnavailable, Err: err,
		Hint: fmt.Sprintf("run it by hand to see why: echo %s | docker-credential-%s get", h.Server, h.Name),
	}
	if errors.Is(err, exec.ErrNotFound) {
		e.Code, e.Hint = registry.ErrNoIdentity, "install docker-credential-"+h.Name+" on this machine, or take it out of the configuration"
	}
	return e
}

// A program is one run of a helper, bounded by its context and an output limit. It is a [client.Program].
type program struct {
	ctx  context.Context
	name string
	args []string
	in   io.Reader
	err  error // The error of the run, without the output.
}

// Input sets the standard input of the program.
func (p *program) Input(in io.Reader) { p.in = in }

// Output runs the program.
func (p *program) Output() ([]byte, error) {
	ctx, stop := context.WithCancel(p.ctx)
	defer stop()
	out := &limited{left: maxAnswer, stop: stop}
	cmd := exec.CommandContext(ctx, p.name, p.args...)
	cmd.Stdin, cmd.Stdout = p.in, out
	cmd.WaitDelay = time.Second // For a helper whose children hold its output open.
	p.err = cmd.Run()
	return out.buf.Bytes(), p.err
}

// limited buffers the output, and stops a program that writes too much.
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
