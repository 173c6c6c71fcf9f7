package ecrtest

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/regcred/regcred/providers/ecr"
)

// A policy is a session policy, which narrows the permissions of a role
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies.html#policies_session): the session may do what the
// role and the policy both allow. That the registry's token keeps the narrow permissions of the session is inferred.
type policy struct {
	Statement []statement
}

type statement struct {
	Effect   string
	Action   oneOrMany
	Resource oneOrMany
}

// A oneOrMany is a string or a list of strings.
type oneOrMany []string

func (o *oneOrMany) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*o = oneOrMany{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(o))
}

// maxPolicy is the limit of the text: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html.
const maxPolicy = 2048

// parsePolicy returns nil for no policy.
func parsePolicy(text string) (*policy, *failure) {
	if text == "" {
		return nil, nil
	}
	var p policy
	switch err := json.Unmarshal([]byte(text), &p); {
	case len(text) > maxPolicy:
		return nil, invalid("1 validation error detected: Value at 'policy' failed to satisfy constraint: Member must have length less than or equal to 2048")
	case err != nil, len(p.Statement) == 0:
		return nil, &failure{400, "MalformedPolicyDocument", "The policy is not in the valid JSON format."}
	}
	return &p, nil
}

// matchAction reports whether a list of actions has one: exactly, or by a pattern with an asterisk at its end.
func matchAction(patterns []string, action string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, all := strings.CutSuffix(pattern, "*")
		return pattern == action || all && strings.HasPrefix(action, prefix)
	})
}

// allows reports whether the policy allows the action on any resource. Statements that deny are not simulated.
func (p *policy) allows(action string) bool {
	return p == nil || slices.ContainsFunc(p.Statement, func(s statement) bool { return s.Effect == "Allow" && matchAction(s.Action, action) })
}

// repositories returns the patterns of the registry's repositories on which the policy allows the action.
func (p *policy) repositories(action string, h ecr.Host) (patterns []string) {
	if p == nil {
		return []string{"*"}
	}
	for _, s := range p.Statement {
		if s.Effect != "Allow" || !matchAction(s.Action, action) {
			continue
		}
		for _, resource := range s.Resource {
			registry, repository, ok := strings.Cut(resource, ":repository/")
			at, _ := path.Match(registry, "arn:"+h.Partition+":ecr:"+h.Region+":"+h.Account)
			switch {
			case resource == "*":
				patterns = append(patterns, "*")
			case ok && at:
				patterns = append(patterns, repository)
			}
		}
	}
	return patterns
}
