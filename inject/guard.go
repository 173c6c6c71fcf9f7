package inject

import "github.com/regcred/regcred/internal/panics"

// guard calls a function of the program. It returns its error, or an error that describes its panic.
func guard(who string, f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = panics.Error(who, value)
		}
	}()
	return f()
}
