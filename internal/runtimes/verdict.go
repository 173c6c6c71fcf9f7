package runtimes

import "github.com/regcred/regcred/internal/scenario"

// A Verdict is the result of a runtime, or of a check, for a scenario.
type Verdict = scenario.Verdict

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
