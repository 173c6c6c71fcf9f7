package providerstest

import "context"

// Rules returns the names of all rules.
func Rules() []string {
	var names []string
	for _, r := range rules {
		names = append(names, r.name)
	}
	return names
}

// Broken returns the rules that the subject violates, each with the violation.
func Broken(ctx context.Context, fx Fixture) map[string]error {
	if err := fx.check(); err != nil {
		return map[string]error{"subject": err}
	}
	broken := make(map[string]error)
	for _, r := range rules {
		if err := r.broken(ctx, fx); err != nil {
			broken[r.name] = err
		}
	}
	return broken
}
