package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// A Verdict is the result of a runtime, or of a check, for a scenario.
type Verdict struct {
	// Pulls reports whether the pull succeeds. The image may not run; see [Content].
	Pulls bool
	// Error is the runtime's error if the pull fails.
	Error string `json:",omitempty"`
	// Requests are the requests that the registry received.
	Requests []Request `json:",omitempty"`
	// Logins are the user names that were tried, for a pod.
	Logins []string `json:",omitempty"`
}

// NewVerdict returns the verdict of a pull that returned err.
func NewVerdict(err error, registry *Registry) Verdict {
	v := Verdict{Pulls: err == nil, Requests: registry.Requests()}
	if err != nil {
		v.Error = err.Error()
	}
	return v
}

// A Pull is a pull from the registry of a scenario, as a program reads it.
type Pull struct {
	Scenario Scenario
	Salt     string // See [NewRegistry].
	// Username and Password are the login; no login if empty.
	Username, Password string
	Timeout            time.Duration
	// With Image, the program reads the manifest of that image over the network instead, with containerd's folders of
	// hosts in HostDir.
	Image, HostDir string
}

// Serve reads pulls as JSON until the end of the input, and writes a [Verdict] for each. It is the main function of
// programs that pull with the code of one runtime.
func Serve(in io.Reader, out io.Writer, pull func(context.Context, *Registry, Pull) error) error {
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var p Pull
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a pull: %w", err)
		}
		registry := NewRegistry(p.Scenario, p.Salt)
		ctx, cancel := context.WithTimeout(context.Background(), p.Timeout)
		err := pull(ctx, registry, p)
		cancel()
		if err := encoder.Encode(NewVerdict(err, registry)); err != nil {
			return fmt.Errorf("write a verdict: %w", err)
		}
	}
}
