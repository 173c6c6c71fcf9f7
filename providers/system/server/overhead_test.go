//go:build linux

package server_test

import (
	"net/http"
	"slices"
	"testing"
)

// BenchmarkOverhead is what this registry costs beside distribution's handlers alone, which let in everybody. The two
// take turns of a few requests, so that what else the machine does meets both alike. It reports the medians of their
// turns, in processor time of client and server together, and the median of how the two turns of a round compare:
//
//	go test -run '^$' -bench Overhead -benchtime 50x .
func BenchmarkOverhead(b *testing.B) {
	get := func(method string, path func(*side) string) func(*side, *testing.B) func(int) {
		return func(s *side, b *testing.B) func(int) {
			path := path(s) // Once: it takes the digest of a layer.
			return func(int) { s.do(b, method, path, nil, http.StatusOK, "") }
		}
	}
	push := func(layer func(*side) string) func(*side, *testing.B) func(int) {
		return func(s *side, b *testing.B) func(int) {
			return func(i int) { s.upload(b, another(layer(s), i)) }
		}
	}
	large, small := func(s *side) string { return s.large }, func(s *side) string { return s.small }
	manifest := func(*side) string { return "/v2/team/app/manifests/1" }
	operations := []struct {
		name    string
		turn    int // How many requests, for some 20 ms or more: less cannot be measured.
		request func(*side, *testing.B) func(i int)
	}{
		{"HEAD manifest", 100, get("HEAD", manifest)},
		{"pull manifest", 100, get("GET", manifest)},
		{"HEAD layer", 100, get("HEAD", func(s *side) string { return blobPath(s.small) })},
		{"pull 1 KiB", 100, get("GET", func(s *side) string { return blobPath(s.small) })},
		{"pull 64 MiB", 1, get("GET", func(s *side) string { return blobPath(s.large) })},
		{"push 1 KiB", 10, push(small)},
		{"push 64 MiB", 1, push(large)},
	}
	for _, operation := range operations {
		b.Run("op="+operation.name, func(b *testing.B) {
			sides := [2]*side{plainSide(b), systemSide(b)}
			var requests [2]func(int)
			for i, s := range sides {
				requests[i] = operation.request(s, b)
			}
			var spent [2][]float64 // Nanoseconds a request, by turn.
			for n := 0; b.Loop(); n += operation.turn {
				for i, s := range sides {
					before := s.processors(b)
					for j := range operation.turn {
						requests[i](n + j)
					}
					spent[i] = append(spent[i], float64(s.processors(b)-before)/float64(operation.turn))
				}
			}
			more := make([]float64, len(spent[0]))
			for i := range more {
				more[i] = 100 * (spent[1][i]/spent[0][i] - 1)
			}
			b.ReportMetric(0, "ns/op") // Of both together, which means nothing.
			b.ReportMetric(median(spent[0]), "distribution-cpu-ns/op")
			b.ReportMetric(median(spent[1]), "system-cpu-ns/op")
			b.ReportMetric(median(more), "%more")
		})
	}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}
