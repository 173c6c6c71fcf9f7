package injecttest

import "context"

// Rules returns the names of all rules.
func Rules() []string {
	var names []string
	for _, r := range rules {
		names = append(names, r.name)
	}
	return names
}

// Broken returns the violation of the rule of that name by the subject, or nil.
func Broken(ctx context.Context, fx Fixture, name string) error {
	for _, r := range rules {
		if r.name == name {
			return r.broken(ctx, fx)
		}
	}
	return nil
}
