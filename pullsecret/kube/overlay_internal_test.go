package kube

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

func newest(version string) *account {
	return &account{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "default", ResourceVersion: version}}
}

func writes(t *testing.T, o *overlay[*account], before, after string) {
	t.Helper()
	require.NoError(t, o.write("shop", "default", before, func() (*account, error) { return newest(after), nil }))
}

// A written object stays until the watch has caught up with it, however late and in whichever steps its events are told
// of.
func TestOverlay(t *testing.T) {
	type steps = func(t *testing.T, o *overlay[*account], watch cache.Indexer)
	for name, tc := range map[string]struct {
		do   steps
		want string // The version that is shown; empty if nothing is.
		kept bool   // A write is still remembered.
	}{
		"an older event is told of late": {func(t *testing.T, o *overlay[*account], watch cache.Indexer) {
			require.NoError(t, watch.Add(newest("2")))
			writes(t, o, "2", "3")
			o.seen("shop", "default", "1", false)
		}, "3", true},
		"the end of an earlier one of that name is told of late": {func(t *testing.T, o *overlay[*account], _ cache.Indexer) {
			writes(t, o, "", "3")
			o.seen("shop", "default", "2", false)
		}, "3", true},
		"two writes, of which the first comes back": {func(t *testing.T, o *overlay[*account], watch cache.Indexer) {
			require.NoError(t, watch.Add(newest("1")))
			writes(t, o, "1", "2")
			writes(t, o, "2", "3")
			require.NoError(t, watch.Update(newest("2")))
			o.seen("shop", "default", "2", false)
		}, "3", true},
		"it comes back": {func(t *testing.T, o *overlay[*account], watch cache.Indexer) {
			require.NoError(t, watch.Add(newest("1")))
			writes(t, o, "1", "2")
			require.NoError(t, watch.Update(newest("2")))
			o.seen("shop", "default", "2", false)
		}, "2", false},
		"it comes back and is deleted before that is told of": {func(t *testing.T, o *overlay[*account], _ cache.Indexer) {
			writes(t, o, "", "2")
			o.seen("shop", "default", "2", false)
		}, "", false},
		"it comes back and is deleted before the request has ended": {func(t *testing.T, o *overlay[*account], _ cache.Indexer) {
			require.NoError(t, o.write("shop", "default", "", func() (*account, error) {
				o.seen("shop", "default", "2", false)
				o.seen("shop", "default", "3", false)
				return newest("2"), nil
			}))
		}, "", false},
		"it is deleted where there are no versions": {func(t *testing.T, o *overlay[*account], _ cache.Indexer) {
			writes(t, o, "", "")
			o.seen("shop", "default", "", true)
		}, "", false},
		"an event comes where there are no versions": {func(t *testing.T, o *overlay[*account], _ cache.Indexer) {
			writes(t, o, "", "")
			o.seen("shop", "default", "", false)
		}, "", true},
		"somebody else's write has come before the request has ended": {func(t *testing.T, o *overlay[*account], watch cache.Indexer) {
			require.NoError(t, watch.Add(newest("3")))
			writes(t, o, "1", "2")
		}, "3", false},
		"it takes the place of what was deleted": {func(t *testing.T, o *overlay[*account], watch cache.Indexer) {
			require.NoError(t, watch.Add(newest("2")))
			o.deleted("shop", "default", "2")
			writes(t, o, "", "4")
			require.NoError(t, watch.Delete(newest("3")))
			o.seen("shop", "default", "3", false)
		}, "4", true},
		"a request that fails": {func(t *testing.T, o *overlay[*account], watch cache.Indexer) {
			require.NoError(t, watch.Add(newest("1")))
			require.Error(t, o.write("shop", "default", "1", func() (*account, error) { return nil, errors.New("conflict") }))
			require.Empty(t, o.flights)
		}, "1", false},
		"somebody else's write comes in its place": {func(t *testing.T, o *overlay[*account], watch cache.Indexer) {
			require.NoError(t, watch.Add(newest("1")))
			writes(t, o, "1", "2")
			require.NoError(t, watch.Update(newest("3")))
			o.seen("shop", "default", "3", false)
		}, "3", false},
		"a deletion that has not come back": {func(t *testing.T, o *overlay[*account], watch cache.Indexer) {
			require.NoError(t, watch.Add(newest("2")))
			o.deleted("shop", "default", "2")
			o.seen("shop", "default", "1", false)
		}, "", true},
		"a deletion comes back, and another one is made": {func(t *testing.T, o *overlay[*account], watch cache.Indexer) {
			require.NoError(t, watch.Add(newest("2")))
			o.deleted("shop", "default", "2")
			require.NoError(t, watch.Update(newest("4")))
			o.seen("shop", "default", "3", false)
		}, "4", false},
	} {
		t.Run(name, func(t *testing.T) {
			watch := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
			o := &overlay[*account]{delivered: watch, lost: func(string) {}}
			tc.do(t, o, watch)
			require.Equal(t, tc.kept, len(o.own) > 0)
			shown := ""
			if a := o.in("shop")["default"]; a != nil {
				shown = a.ResourceVersion
			}
			require.Equal(t, tc.want, shown)
		})
	}
}

// What never comes back is given up, and somebody has to look again.
func TestOverlayGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := make(chan string, 10)
		watch := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
		o := &overlay[*account]{delivered: watch, lost: func(namespace string) { lost <- namespace }}
		writes(t, o, "", "1")
		time.Sleep(patience / 2)
		writes(t, o, "1", "2")
		time.Sleep(patience - time.Second)
		require.Len(t, o.in("shop"), 1)
		require.Empty(t, lost)
		time.Sleep(2 * time.Second)
		require.Empty(t, o.in("shop"))
		require.Equal(t, "shop", <-lost)
		require.Empty(t, lost)
	})
}
