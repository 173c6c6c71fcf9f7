package inject

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A namespace in which each job has an account of its own does not accumulate their efforts.
func TestOldEffortsAreDropped(t *testing.T) {
	for name, looked := range map[string][]string{"all namespaces": nil, "that one": {"ci"}} {
		t.Run(name, func(t *testing.T) {
			var p pace
			now := time.Now()
			state := []Namespace{{Name: "ci", UID: "uid"}, {Name: "quiet", UID: "uid"}}
			for i := range 1000 {
				result := error(nil)
				if i%2 == 0 {
					result = errors.New("denied")
				}
				p.done(Change{Action: LinkAccount, Namespace: "ci", Name: fmt.Sprint("job-", i), Link: []string{"regcred"}}, "uid", result, now)
				now = now.Add(20 * time.Minute)
				p.forget(state, looked, now)
				require.LessOrEqual(t, len(p.efforts["ci"]), 3)
			}
			require.NotEmpty(t, p.efforts["ci"], "the last one may still be contested")
			p.forget(state, looked, now.Add(quiet))
			require.Empty(t, p.efforts)
		})
	}
}
