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

// A Helper is a source that runs a program docker-credential-NAME, by the protocol of
// https://github.com/docker/docker-credential-helpers.
type Helper struct {
	// Name is the program's, without "docker-credential-": "ecr-login", "gcloud". It is looked for in the PATH. It has
	// to be set.
	Name string
	// Server is what the program is asked for. It has to be set.
	Server string
	// GoodFor is how long an answer is taken to be good, because the protocol does not tell. Zero means for ever; set it
	// for helpers whose passwords are short-lived.
	GoodFor time.Duration
}

// maxAnswer is much more than any token.
const maxAnswer = 1 << 20

// Credential runs the program. Its error wraps [credentials.ErrNoLogin] if the program has no login; a program that fails,
// or is missing, is a [registry.Error]. It never holds what the program printed, which may be a secret.
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
	case p.err != nil: // The client's error quotes what was printed.
		return credentials.Credential{}, h.failed(p.err)
	case err != nil:
		return credentials.Credential{}, fmt.Errorf("answer is %w", ErrMalformed)
	case answer.Username == "<token>":
		return credentials.Credential{}, credentials.ErrIdentityToken
	case answer.Username == "" && answer.Secret == "":
		// Version 0.6 of docker-credential-pass, which Debian has, answers so for a server that it does not know.
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

// A program is one run of a helper, which ends with its context and whose output has a limit. It is a [client.Program].
type program struct {
	ctx  context.Context
	name string
	args []string
	in   io.Reader
	err  error // What running it ended with, without what it printed.
}

// Input sets what the program reads.
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
