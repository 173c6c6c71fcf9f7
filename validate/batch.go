package validate

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/regcred/regcred/internal/panics"
	"github.com/regcred/regcred/registry"
)

// A batch is the set of images of one call.
type batch struct {
	c *call

	mu       sync.Mutex
	done     int   // Finished requests.
	jobs     int   // All requests.
	panicked error // Of Progress, which is not called again.
}

// A job is one image with its candidates, and its positions in the list of requests.
type job struct {
	image      registry.Image
	candidates []Candidate
	positions  []int
}

func (c *call) images(ctx context.Context, requests []Request) ([]Result, error) {
	results := make([]Result, len(requests))
	jobs := c.jobs(requests)
	errs := make([]error, len(jobs))
	b := &batch{c: c, jobs: len(requests)}
	var wg sync.WaitGroup
	// Each registry has workers of its own, so that a slow registry does not delay the others. session.slots limits the
	// total number of concurrent requests.
	for _, list := range byHost(jobs) {
		next := make(chan int, len(list))
		for _, i := range list {
			next <- i
		}
		close(next)
		for range min(c.c.perRegistry(), len(list)) {
			wg.Go(func() {
				for i := range next {
					r := c.image(ctx, jobs[i].image, jobs[i].candidates)
					errs[i] = r.Err
					b.report(jobs[i], r, results)
				}
			})
		}
	}
	wg.Wait()
	if b.panicked != nil {
		errs = append(errs, &registry.Error{Op: "check images", Code: registry.CodeOf(b.panicked), Hint: hintPanic, Err: b.panicked})
	}
	return results, errors.Join(errs...)
}

// jobs combines equal requests into one job each, and notes which candidate will be tried on which repositories.
func (c *call) jobs(requests []Request) []*job {
	var all []*job
	byImage := make(map[registry.Image][]*job, len(requests))
	for i, r := range requests {
		if len(r.Candidates) == 0 {
			r.Candidates = make([]Candidate, 1)
		}
		same := slices.IndexFunc(byImage[r.Image], func(j *job) bool { return c.same(j.candidates, r.Candidates) })
		if same >= 0 {
			j := byImage[r.Image][same]
			j.positions = append(j.positions, i)
			continue
		}
		j := &job{r.Image, r.Candidates, []int{i}}
		all = append(all, j)
		byImage[r.Image] = append(byImage[r.Image], j)
		for k := range r.Candidates {
			c.planRepository(&r.Candidates[k], r.Image)
		}
	}
	return all
}

func byHost(jobs []*job) map[string][]int {
	hosts := make(map[string][]int)
	for i, j := range jobs {
		hosts[j.image.Host] = append(hosts[j.image.Host], i)
	}
	return hosts
}

// report stores the result for each request of the job and calls Progress.
func (b *batch) report(j *job, r Result, results []Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, i := range j.positions {
		results[i] = r
	}
	b.done += len(j.positions)
	if tell := b.c.c.Progress; tell != nil && b.panicked == nil {
		b.panicked = panics.Call("Checker.Progress", func() error { tell(Progress{b.done, b.jobs, r}); return nil })
	}
}
