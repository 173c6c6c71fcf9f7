package catalog_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
)

// counted is a storage that counts its calls.
type counted struct {
	storagedriver.StorageDriver
	calls atomic.Int64
}

func (c *counted) List(ctx context.Context, path string) ([]string, error) {
	c.calls.Add(1)
	return c.StorageDriver.List(ctx, path)
}

func (c *counted) GetContent(ctx context.Context, path string) ([]byte, error) {
	c.calls.Add(1)
	return c.StorageDriver.GetContent(ctx, path)
}

func TestRepositoryPage(t *testing.T) {
	driver := &counted{StorageDriver: inmemory.New()}
	f := over(t, driver)
	all := []string{"a", "a/b", "a/b/c", "a/z", "a-b", "a-b/c", "b/x", "c", "team/app", "team/app/base", "team-two/app", "z"}
	for _, name := range all {
		f.blob(t, name, "layer")
	}
	everything := func(string) bool { return true }
	pages := func(folders []string, n int, match func(string) bool) (names []string) {
		after := ""
		for range 100 {
			page, next, err := f.RepositoryPage(t.Context(), folders, after, n, match)
			require.NoError(t, err)
			require.LessOrEqual(t, len(page), n)
			names = append(names, page...)
			if after = next; next == "" {
				return names
			}
		}
		t.Fatal("the pages have no end")
		return nil
	}
	var walked []string
	for name, err := range f.Repositories(t.Context(), "") {
		require.NoError(t, err)
		walked = append(walked, name)
	}
	require.Equal(t, all, walked)
	for n := 1; n < 14; n++ {
		require.Equal(t, all, pages([]string{""}, n, everything), n)
		require.Equal(t, []string{"a/b", "a/b/c", "team/app", "team/app/base"}, pages([]string{"team/app", "a/b", "a/b/c"}, n, everything), n)
		require.Equal(t, []string{"team/app", "team/app/base", "team-two/app"}, pages([]string{"", "a"}, n, func(name string) bool { return strings.Contains(name, "app") }), n)
	}
	for i, after := range all {
		var rest []string
		for name, err := range f.Repositories(t.Context(), after) {
			require.NoError(t, err)
			rest = append(rest, name)
		}
		require.True(t, slices.Equal(all[i+1:], rest), "%v after %s", rest, after)
	}
	driver.calls.Store(0)
	require.Empty(t, pages(nil, 10, everything))
	require.Zero(t, driver.calls.Load(), "nothing is public, and the storage was asked")
}

// A page lists a limited number of folders, even if nothing matches.
func TestRepositoryPageIsBounded(t *testing.T) {
	driver := &counted{StorageDriver: inmemory.New()}
	f := over(t, driver)
	for i := range 3000 {
		require.NoError(t, driver.PutContent(t.Context(), fmt.Sprintf("/docker/registry/v2/repositories/r%04d/_layers/x", i), nil))
	}
	driver.calls.Store(0)
	names, next, err := f.RepositoryPage(t.Context(), []string{""}, "", 10, func(name string) bool { return name == "r2999" })
	require.NoError(t, err)
	require.Empty(t, names)
	require.NotEmpty(t, next)
	require.LessOrEqual(t, driver.calls.Load(), int64(2000))
	names, next, err = f.RepositoryPage(t.Context(), []string{""}, next, 10, func(name string) bool { return name == "r2999" })
	require.NoError(t, err)
	require.Equal(t, []string{"r2999"}, names)
	require.Empty(t, next)
}

// A thousand tags of one image, and one image with a thousand platforms, are read once, and in part.
func TestImagePageIsBounded(t *testing.T) {
	driver := &counted{StorageDriver: inmemory.New()}
	f := over(t, driver)
	var children []v1.Descriptor
	for i := range 300 {
		d := f.push(t, "team/app", "", fmt.Sprint("layer ", i), fmt.Sprint("cpu", i))
		d.Platform = &v1.Platform{OS: "linux", Architecture: fmt.Sprint("cpu", i)}
		children = append(children, d)
	}
	index := f.index(t, "team/app", "t000", children...)
	for i := range 300 {
		require.NoError(t, f.repository(t, "team/app").Tags(t.Context()).Tag(t.Context(), fmt.Sprintf("t%03d", i), index))
	}
	driver.calls.Store(0)
	page, next, err := f.ImagePage(t.Context(), "team/app", "", 1000)
	require.NoError(t, err)
	require.Empty(t, next)
	require.Len(t, page, 300)
	require.Equal(t, "t299", page[299].Tag)
	require.Len(t, page[0].Platforms, 300)
	require.Less(t, driver.calls.Load(), int64(2000))

	for i := range 30 { // Different indexes of the same images.
		f.index(t, "team/many", fmt.Sprintf("t%03d", i), func() (own []v1.Descriptor) {
			for j := range 60 {
				own = append(own, f.push(t, "team/many", "", fmt.Sprint("layer ", i, j), "amd64"))
			}
			return own
		}()...)
	}
	first, next, err := f.ImagePage(t.Context(), "team/many", "", 1000)
	require.NoError(t, err)
	require.NotEmpty(t, next)
	require.Less(t, len(first), 30)
	second, _, err := f.ImagePage(t.Context(), "team/many", next, 1000)
	require.NoError(t, err)
	require.Equal(t, first[len(first)-1].Tag, next)
	require.NotEmpty(t, second)
	require.Greater(t, second[0].Tag, next)
}
