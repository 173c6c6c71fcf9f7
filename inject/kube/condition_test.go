package kube_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

func TestReady(t *testing.T) {
	problem := func(target string, err error) inject.Problem {
		return inject.Problem{Target: target, Namespace: "shop", Name: target, Err: err}
	}
	pass := func(problems ...inject.Problem) kube.Pass {
		return kube.Pass{Result: inject.Result{Problems: problems}}
	}
	invalid := inject.Target{Name: "a"}.Validate()
	for name, tc := range map[string]struct {
		pass            kube.Pass
		status          metav1.ConditionStatus
		reason, message string
	}{
		"nothing is wrong":     {pass(), metav1.ConditionTrue, "Published", ""},
		"it is another target": {pass(problem("b", registry.ErrNameTaken)), metav1.ConditionTrue, "Published", ""},
		"foreign": {
			pass(problem("a", fmt.Errorf("create: %w", registry.ErrNameTaken))), metav1.ConditionFalse,
			"NameTaken", "shop/a: create: name taken",
		},
		"code":     {pass(problem("a", registry.ErrImageNotFound)), metav1.ConditionFalse, "ImageNotFound", "shop/a: image not found"},
		"invalid":  {pass(inject.Problem{Target: "a", Err: invalid}), metav1.ConditionFalse, "Invalid", invalid.Error()},
		"anything": {pass(problem("a", errors.New("out of paper"))), metav1.ConditionFalse, "Failed", "shop/a: out of paper"},
		"no answer": {
			kube.Pass{Err: registry.ErrClusterUnavailable}, metav1.ConditionUnknown, "ClusterUnavailable", "cluster unavailable",
		},
		"no targets":    {kube.Pass{Err: errors.New("not synced")}, metav1.ConditionUnknown, "Failed", "not synced"},
		"invalid field": {kube.Pass{Err: registry.ErrInvalid}, metav1.ConditionUnknown, "Invalid", "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, metav1.Condition{Type: "Ready", Status: tc.status, Reason: tc.reason, Message: tc.message}, tc.pass.Ready("a"))
		})
	}

	var many []inject.Problem
	for i := range 100 {
		many = append(many, problem("a", errors.New(strings.Repeat("é", 10_000)+fmt.Sprint(i))))
	}
	message := pass(many...).Ready("a").Message
	require.LessOrEqual(t, len(message), 32768)
	require.True(t, strings.HasSuffix(message, "..."))

	// An object with several targets has the problems of all.
	require.Equal(t, metav1.ConditionTrue, pass(problem("c", registry.ErrNameTaken)).Ready().Status)
	several := pass(problem("c", registry.ErrNameTaken), problem("b", registry.ErrNameTaken), problem("a", registry.ErrDenied),
		problem("", registry.ErrConflict)).Ready("a", "b")
	require.Equal(t, metav1.ConditionFalse, several.Status)
	require.Equal(t, "shop/: conflict\ntarget a: shop/a: denied\ntarget b: shop/b: name taken", several.Message)
}

func TestLoginExpiring(t *testing.T) {
	pass := kube.Pass{Result: inject.Result{Warnings: []inject.Problem{
		{Target: "a", Profile: "harbor", Err: registry.ErrLoginExpires}, {Target: "b", Profile: "hub", Err: registry.ErrMirrored},
	}}}
	require.Equal(t, metav1.Condition{Type: "LoginExpiring", Status: metav1.ConditionTrue, Reason: "LoginExpires", Message: "profile harbor: login expires"}, pass.LoginExpiring("a"))
	require.Equal(t, metav1.Condition{Type: "LoginExpiring", Status: metav1.ConditionFalse, Reason: "NotSoon"}, pass.LoginExpiring("b"))
}
