package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/watch"
)

// fault words what went wrong. The sentence does not change while the trouble lasts.
func (t *target) fault(err error) *watch.Fault {
	f := &watch.Fault{Trouble: watch.Failing, Err: fmt.Errorf("%s: %w", t.doing, err)}
	who := "ferry's credential for GitHub"
	if t.account != nil && t.account.Name != "" {
		who += " (" + t.account.Name + ")"
	}
	if errors.Is(err, errUncovered) {
		f.Trouble = watch.Forbidden
		f.Reason = fmt.Sprintf("ferry has no credential for the repositories of %s. Name one in its configuration.", t.owner)
		return f
	}
	if errors.Is(err, errElsewhere) {
		f.Reason = fmt.Sprintf("GitHub's answer about %s leads to another host, where ferry does not go.", t.name)
		return f
	}
	if limited, ok := errors.AsType[*limitError](err); ok {
		f.Trouble, f.Until = watch.Limited, limited.resume
		f.Reason = fmt.Sprintf("GitHub's rate limit for %s is reached. ferry goes on by itself.", who)
		return f
	}
	if _, ok := errors.AsType[*deadError](err); ok {
		f.Trouble, f.Reason = watch.Unauthorised, rejected(who)
		return f
	}
	if refusal, ok := errors.AsType[*gitops.Refusal](err); ok { // there is no token
		f.Reason = refusal.Reason
		if refusal.Code != gitops.Unreachable {
			f.Trouble = watch.Unauthorised
		}
		return f
	}
	a, ok := answerOf(err)
	if !ok {
		f.Reason = fmt.Sprintf("GitHub did not answer when ferry wanted to %s.", t.doing)
		switch {
		case errors.Is(err, context.Canceled):
			f.Reason = fmt.Sprintf("ferry was ended before it could %s.", t.doing)
		case errors.Is(err, errBroken):
			f.Reason = fmt.Sprintf("GitHub's answer was broken when ferry wanted to %s.", t.doing)
		}
		return f
	}
	said := ""
	if a.message != "" {
		said = " GitHub says: " + sentence(a.message)
	}
	switch {
	case a.status == http.StatusUnauthorized:
		f.Trouble, f.Reason = watch.Unauthorised, rejected(who)
	case a.status == http.StatusNotFound, a.status == http.StatusGone:
		f.Trouble = watch.Gone
		f.Reason = fmt.Sprintf("%s is not there, or %s may not see it.%s", t.name, who, missing(a.header))
	case a.status == http.StatusUnavailableForLegalReasons:
		f.Trouble = watch.Forbidden
		f.Reason = fmt.Sprintf("GitHub has blocked %s for legal reasons.", t.name)
	case a.status == http.StatusForbidden:
		f.Trouble = watch.Forbidden
		f.Reason = fmt.Sprintf("%s may not %s.%s%s", who, t.doing, said, missing(a.header))
	case a.status >= 500:
		f.Reason = fmt.Sprintf("GitHub had a fault (%d) when ferry wanted to %s.", a.status, t.doing)
		if wait, ok := retryAfter(a.header); ok {
			f.Until = t.r.clock.now().Add(min(wait, longestRetry))
		}
	default:
		f.Reason = fmt.Sprintf("GitHub refused to let ferry %s (%d).%s", t.doing, a.status, said)
	}
	return f
}

func rejected(who string) string {
	return fmt.Sprintf("GitHub rejects %s: it is wrong, expired or revoked. Replace it where ferry's configuration says.", who)
}
