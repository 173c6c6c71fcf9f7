package runtimes

import "github.com/regcred/regcred/internal/scenario"

// A Verdict is the result of a runtime, or of a check, for a scenario.
type Verdict struct {
	// Pulls reports whether PullImage succeeds. The image may not run; see [scenario.Content].
	Pulls bool
	// Error is the runtime's error if the pull fails.
	Error string `json:",omitempty"`
	// Requests are the requests that the registry received.
	Requests []scenario.Request `json:",omitempty"`
}

func verdict(err error, registry *scenario.Registry) Verdict {
	v := Verdict{Pulls: err == nil, Requests: registry.Requests()}
	if err != nil {
		v.Error = err.Error()
	}
	return v
}

// login returns the user name and the password that a kubelet passes to the runtime.
func login(s scenario.Scenario) (username, password string) {
	switch s.Login {
	case "none":
		return "", ""
	case "wrong":
		return scenario.Username, "wrong"
	}
	return scenario.Username, scenario.Password
}
