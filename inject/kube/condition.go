package kube

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/registry"
)

// ConditionReady is the type of the condition that [Pass.Ready] returns.
const ConditionReady = "Ready"

// Ready returns how a target is after a pass, as a condition for the status of an object: everywhere, whatever the pass
// was limited to. It is true if the secret is everywhere as it should be; unknown if the cluster did not answer, if no
// more is wrong than that it cannot be watched anymore, or before the first pass over all namespaces; else false, also
// while a secret that cannot be renewed is still good. The reason is Published, InProgress, ClusterUnavailable, or the
// first problem's. The time of the transition is for meta.SetStatusCondition to set.
func (p Pass) Ready(target string) metav1.Condition {
	if p.Err != nil {
		return condition(metav1.ConditionUnknown, "ClusterUnavailable", p.Err.Error())
	}
	all, complete := p.Result.Problems, true
	if p.syncer != nil {
		all, complete = p.syncer.Problems(target)
	}
	var problems []inject.Problem
	for _, problem := range all {
		if problem.Target == target || problem.Target == "" { // A service account names the secrets of several.
			problems = append(problems, problem)
		}
	}
	if len(problems) == 0 && !complete {
		return condition(metav1.ConditionUnknown, "InProgress", "the first pass over all namespaces is under way")
	}
	if len(problems) == 0 {
		return condition(metav1.ConditionTrue, "Published", "")
	}
	lines := make([]string, len(problems))
	for i, problem := range problems {
		problem.Target = "" // The object that carries the condition says it.
		lines[i] = problem.Error()
	}
	slices.Sort(lines)
	if more := len(lines) - maxLines; more > 0 {
		lines = append(lines[:maxLines], fmt.Sprintf("and %d more", more))
	}
	message := shorten(strings.Join(lines, "\n"), maxMessage)
	slices.SortStableFunc(problems, func(a, b inject.Problem) int { return strings.Compare(a.Namespace, b.Namespace) }) // So that the reason does not flap.
	for _, problem := range problems {
		if !errors.Is(problem.Err, registry.ErrStale) {
			return condition(metav1.ConditionFalse, problem.Reason(), message)
		}
	}
	return condition(metav1.ConditionUnknown, problems[0].Reason(), message)
}

// ConditionLoginExpiring is the type of the condition that [Pass.LoginExpiring] returns.
const ConditionLoginExpiring = "LoginExpiring"

// LoginExpiring returns whether a login of the target expires soon by itself, as a condition for the status of an object;
// see [inject.Syncer.WarnBefore]. It is true if one does, with the reason LoginExpires, and else false, with the reason
// NotSoon. Only a person can renew such a login.
func (p Pass) LoginExpiring(target string) metav1.Condition {
	warnings := p.Result.Warnings
	if p.syncer != nil {
		warnings = p.syncer.Warnings(target)
	}
	var lines []string
	for _, w := range warnings {
		if w.Target == target {
			w.Target = ""
			lines = append(lines, w.Error())
		}
	}
	c := metav1.Condition{Type: ConditionLoginExpiring, Status: metav1.ConditionFalse, Reason: "NotSoon"}
	if len(lines) > 0 {
		slices.Sort(lines)
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, "LoginExpires", shorten(strings.Join(lines, "\n"), maxMessage)
	}
	return c
}

// What a message holds at most: lines that a person reads, and bytes that the API takes (metav1.Condition).
const maxLines, maxMessage = 5, 32768

// shorten cuts a text that is longer than so many bytes, between two characters.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("...")], "") + "..."
}

func condition(status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: ConditionReady, Status: status, Reason: reason, Message: message}
}
