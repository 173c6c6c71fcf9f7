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

// Ready returns the state of an object's targets after a pass, as a condition for its status. Most objects have one
// target; an object whose namespaces have logins of their own has one for each. It covers all namespaces, even if the
// pass was limited to some. The time of the transition is not set; meta.SetStatusCondition sets it.
//
//   - True: the secrets are in their desired state everywhere, or the object has no target. The reason is Published.
//   - Unknown: the pass was not made or not finished, or the only problem is that the cluster can no longer be watched,
//     or no pass has covered some target yet. The reason is that of the error, such as ClusterUnavailable, or
//     InProgress.
//   - False: in all other cases, also while a secret that cannot be renewed has not expired yet. The reason is the
//     reason of the first problem.
func (p Pass) Ready(targets ...string) metav1.Condition {
	if p.Err != nil {
		return condition(metav1.ConditionUnknown, inject.Problem{Err: p.Err}.Reason(), shorten(p.Err.Error(), maxMessage))
	}
	var problems []inject.Problem
	complete := true
	for _, target := range targets {
		all := p.Result.Problems
		if p.syncer != nil {
			var covered bool
			all, covered = p.syncer.Problems(target)
			complete = complete && covered
		}
		for _, problem := range all {
			if problem.Target == target || problem.Target == "" { // A service account names the secrets of several targets.
				problems = append(problems, problem)
			}
		}
	}
	if len(problems) == 0 && !complete {
		return condition(metav1.ConditionUnknown, "InProgress", "the first pass over all its namespaces is under way")
	}
	if len(problems) == 0 {
		return condition(metav1.ConditionTrue, "Published", "")
	}
	lines := make([]string, len(problems))
	for i, problem := range problems {
		if len(targets) == 1 {
			problem.Target = "" // The object that carries the condition identifies the target.
		}
		lines[i] = problem.Error()
	}
	slices.Sort(lines)
	lines = slices.Compact(lines) // Several targets may have a problem of the cluster, or of an account.
	if more := len(lines) - maxLines; more > 0 {
		lines = append(lines[:maxLines], fmt.Sprintf("and %d more", more))
	}
	message := shorten(strings.Join(lines, "\n"), maxMessage)
	slices.SortStableFunc(problems, func(a, b inject.Problem) int { return strings.Compare(a.Namespace, b.Namespace) }) // Keeps the reason from flapping.
	for _, problem := range problems {
		if !errors.Is(problem.Err, registry.ErrStale) {
			return condition(metav1.ConditionFalse, problem.Reason(), message)
		}
	}
	return condition(metav1.ConditionUnknown, problems[0].Reason(), message)
}

// ConditionLoginExpiring is the type of the condition that [Pass.LoginExpiring] returns.
const ConditionLoginExpiring = "LoginExpiring"

// LoginExpiring returns whether a login of the target expires soon by itself, as a condition for the status of an
// object; see [inject.Syncer.WarnBefore]. It is true, with the reason LoginExpires, if one does; otherwise it is
// false, with the reason NotSoon. Only a person can renew such a login.
func (p Pass) LoginExpiring(target string) metav1.Condition {
	warnings := p.Result.Warnings
	if p.syncer != nil {
		warnings = p.syncer.Warnings(target)
	}
	var lines []string
	for _, w := range warnings {
		if w.Target == target && errors.Is(w.Err, registry.ErrLoginExpires) {
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

// Limits of a message: a number of lines that a person reads, and the maximum of the API in bytes (metav1.Condition).
const maxLines, maxMessage = 5, 32768

// shorten cuts a text to at most so many bytes, between two characters.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("...")], "") + "..."
}

func condition(status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: ConditionReady, Status: status, Reason: reason, Message: message}
}
