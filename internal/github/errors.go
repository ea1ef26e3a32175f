package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

// A graphqlError is what GraphQL answers beside status 200.
type graphqlError struct{ faults []graphqlFault }

type graphqlFault struct {
	Type    string `json:"type"` // STALE_DATA, NOT_FOUND, FORBIDDEN, UNPROCESSABLE, RATE_LIMITED, …; empty for its own faults
	Message string `json:"message"`
}

func (e *graphqlError) Error() string {
	var all []string
	for _, f := range e.faults {
		all = append(all, strings.TrimPrefix(f.Type+": "+f.Message, ": "))
	}
	return strings.Join(all, "; ")
}

// An answer is what GitHub said instead of doing what was asked.
type answer struct {
	status  int
	header  http.Header
	message string
	limited bool      // a rate limit, primary or secondary
	until   time.Time // the end of the limit, if GitHub told
}

// answerOf finds GitHub's answer in an error. It is false where there was none: no connection, a timeout, a broken body.
func answerOf(err error) (answer, bool) {
	if e, ok := errors.AsType[*limitError](err); ok {
		return e.answer, true
	}
	if e, ok := errors.AsType[*github.RateLimitError](err); ok {
		return answer{status: e.Response.StatusCode, header: e.Response.Header, message: e.Message, limited: true, until: e.Rate.Reset.Time}, true
	}
	if e, ok := errors.AsType[*github.AbuseRateLimitError](err); ok {
		a := answer{status: e.Response.StatusCode, header: e.Response.Header, message: e.Message, limited: true}
		a.until = a.reset()
		return a, true
	}
	e, ok := errors.AsType[*github.ErrorResponse](err)
	if !ok {
		twoFactor, is := errors.AsType[*github.TwoFactorAuthError](err)
		if !is {
			return answer{}, false
		}
		e = (*github.ErrorResponse)(twoFactor)
	}
	messages := []string{e.Message}
	for _, detail := range e.Errors {
		if detail.Message != "" {
			messages = append(messages, detail.Message)
		} else if detail.Field != "" {
			messages = append(messages, detail.Field+" is "+detail.Code)
		}
	}
	a := answer{status: e.Response.StatusCode, header: e.Response.Header, message: strings.Join(messages, ": ")}
	a.limited = a.limits() || a.status == http.StatusUnprocessableEntity && a.says("submitted too quickly")
	if a.limited {
		a.until = a.reset()
	}
	return a, true
}

// limits says whether an answer is about a rate limit, primary or secondary.
func (a answer) limits() bool {
	return a.status == http.StatusTooManyRequests || a.status == http.StatusForbidden &&
		(a.header.Get("Retry-After") != "" || a.header.Get("X-RateLimit-Remaining") == "0" || a.says("secondary rate limit"))
}

// reset reads the end of a limit by the clock of GitHub.
func (a answer) reset() time.Time {
	now, err := http.ParseTime(a.header.Get("Date"))
	if seconds, bad := strconv.Atoi(a.header.Get("Retry-After")); err == nil && bad == nil {
		return now.Add(time.Duration(seconds) * time.Second)
	}
	if unix, bad := strconv.ParseInt(a.header.Get("X-RateLimit-Reset"), 10, 64); bad == nil && a.header.Get("X-RateLimit-Remaining") == "0" {
		return time.Unix(unix, 0)
	}
	return time.Time{}
}

// says looks for GitHub's words, which are all it gives to tell some faults apart.
func (a answer) says(words ...string) bool { return contains(a.message, words...) }

func contains(message string, words ...string) bool {
	message = strings.ToLower(message)
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(message, strings.ToLower(w)) })
}

// passing says whether a read may succeed if it is repeated soon.
func passing(err error) bool {
	if a, ok := answerOf(err); ok {
		return a.status >= 500
	}
	if e, ok := errors.AsType[*graphqlError](err); ok {
		return e.faults[0].Type == ""
	}
	if _, ok := errors.AsType[*gitops.Refusal](err); ok {
		return false
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return false
	}
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// unsent says that a request did not reach GitHub: no credential, or no connection.
func unsent(err error) bool {
	if _, ok := errors.AsType[*gitops.Refusal](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

var space = regexp.MustCompile(`[\s\p{C}]+`)

// sentence makes one bounded line, with its full stop, of what GitHub said.
func sentence(message string) string {
	const limit = 300
	line := []rune(strings.TrimSpace(space.ReplaceAllString(message, " ")))
	if len(line) > limit {
		line = append(line[:limit-1], '…')
	}
	if len(line) > 0 && !strings.ContainsRune(".!?…", line[len(line)-1]) {
		line = append(line, '.')
	}
	return string(line)
}

// refuse words what went wrong while doing something, "read main of acme/fleet".
func (r *repository) refuse(doing string, err error) error {
	if refusal, ok := errors.AsType[*gitops.Refusal](err); ok {
		return refusal
	}
	refusal := &gitops.Refusal{Code: gitops.Unreachable, Cause: fmt.Errorf("%s: %w", doing, err)}
	if e, ok := errors.AsType[*graphqlError](err); ok {
		r.refuseGraphQL(refusal, e)
		return refusal
	}
	a, ok := answerOf(err)
	if !ok {
		refusal.Reason = fmt.Sprintf("GitHub did not answer when ferry wanted to %s. Try again in a moment.", doing)
		if errors.Is(err, context.Canceled) {
			refusal.Reason = fmt.Sprintf("The command was ended before ferry could %s.", doing)
		}
		return refusal
	}
	said := ""
	if a.message != "" {
		said = " GitHub says: " + sentence(a.message)
	}
	switch {
	case a.limited:
		refusal.Reason = "GitHub's rate limit for ferry's token is used up. " + waitFor(a.until)
	case a.status == http.StatusUnauthorized:
		refusal.Code = gitops.Denied
		refusal.Reason = "GitHub rejects ferry's token: it is wrong, expired or revoked. Replace it where github.auth in ferry's configuration says."
	case a.status == http.StatusForbidden:
		refusal.Code = gitops.Denied
		refusal.Reason = fmt.Sprintf("ferry's token may not %s.%s%s", doing, said, missing(a.header))
	case a.status == http.StatusNotFound || a.status == http.StatusGone:
		refusal.Code = gitops.NotFound
		refusal.Reason = fmt.Sprintf("ferry could not %s: it does not exist, or ferry's token may not see or change it.%s", doing, missing(a.header))
	case a.status >= 300 && a.status < 400:
		refusal.Code = gitops.Config
		refusal.Reason = fmt.Sprintf("The repository %s has been renamed or moved. Put its new name into ferry's configuration.", r)
	case a.status == http.StatusUnavailableForLegalReasons:
		refusal.Code = gitops.Denied
		refusal.Reason = fmt.Sprintf("GitHub has blocked %s for legal reasons.", r)
	case a.status == http.StatusConflict && a.says("empty"):
		refusal.Code = gitops.NotFound
		refusal.Reason = fmt.Sprintf("The repository %s is empty. Push a first commit.", r)
	case a.status >= 500:
		refusal.Reason = fmt.Sprintf("GitHub had a fault (%d) when ferry wanted to %s. Try again in a moment; www.githubstatus.com tells more.", a.status, doing)
	default:
		refusal.Code = gitops.Denied
		refusal.Reason = fmt.Sprintf("GitHub refused to %s (%d).%s", doing, a.status, said)
	}
	return refusal
}

func (r *repository) refuseGraphQL(refusal *gitops.Refusal, e *graphqlError) {
	fault := e.faults[0]
	said := " GitHub says: " + sentence(fault.Message)
	switch fault.Type {
	case "RATE_LIMITED":
		refusal.Reason = "GitHub's rate limit for ferry's token is used up. " + waitFor(time.Time{})
	case "NOT_FOUND":
		refusal.Code = gitops.NotFound
		refusal.Reason = fmt.Sprintf("%s or its branch does not exist, or ferry's token may not see or change it.%s", r, said)
	case "FORBIDDEN":
		refusal.Code = gitops.Denied
		refusal.Reason = fmt.Sprintf("ferry's token may not write to %s.%s It needs write access to the repository's contents.", r, said)
	case "":
		refusal.Reason = "GitHub had a fault. Try again in a moment." + said
	default:
		refusal.Code = gitops.Denied
		refusal.Reason = "GitHub refused." + said
	}
}

func waitFor(until time.Time) string {
	if until.IsZero() {
		return "Try again in some minutes."
	}
	return fmt.Sprintf("Try again after %s.", until.UTC().Format("15:04:05 UTC"))
}

// missing names the permission that GitHub asks for, from the header X-Accepted-GitHub-Permissions.
func missing(header http.Header) string {
	if accepted := sentence(header.Get("X-Accepted-GitHub-Permissions")); accepted != "" {
		return " It needs the permission " + accepted
	}
	if header.Get("X-GitHub-SSO") != "" {
		return " Authorize the token for the organization's single sign-on."
	}
	return ""
}

// refuseWrite is refuse for a write: it tells apart what was certainly not written, and what may have been.
// GitHub rejects with 401, 403, 404 and 429 before it executes; after a 5xx or a broken connection anything may be true.
func (r *repository) refuseWrite(doing string, err error) error {
	if unsent(err) {
		return r.refuse(doing, err)
	}
	if e, ok := errors.AsType[*graphqlError](err); ok {
		fault := e.faults[0]
		switch {
		case fault.Type == "STALE_DATA" || contains(fault.Message, "Expected branch to point to"):
			return r.moved(err)
		case contains(fault.Message, ruleWords...):
			return r.ruled(fault.Message, err)
		case slices.Contains([]string{"NOT_FOUND", "FORBIDDEN", "RATE_LIMITED", "UNPROCESSABLE"}, fault.Type):
			return r.refuse(doing, err)
		}
		return r.unknown(doing, err)
	}
	a, ok := answerOf(err)
	switch {
	case !ok || a.status >= 500:
		return r.unknown(doing, err)
	case a.status == http.StatusConflict && !a.says("empty"), a.status == http.StatusUnprocessableEntity && a.says("fast forward", "fast-forward"):
		return r.moved(err)
	case !a.limited && a.says(ruleWords...):
		return r.ruled(a.message, err)
	}
	return r.refuse(doing, err)
}

// ruleWords are parts of GitHub's sentences about a rule or protection that forbids a write.
var ruleWords = []string{"must be made through", "rule violations", "protected branch", "GH006", "GH013", "required status check"}

func (r *repository) moved(err error) error {
	return &gitops.Refusal{Code: gitops.Changed, Cause: fmt.Errorf("%w: %w", promotion.ErrMoved, err),
		Reason: fmt.Sprintf("Somebody changed %s at the same moment, so nothing was written. Try again.", r)}
}

func (r *repository) ruled(said string, err error) error {
	return &gitops.Refusal{Code: gitops.Denied, Cause: fmt.Errorf("%w: %w", promotion.ErrPullRequestRequired, err),
		Reason: fmt.Sprintf("The rules of %s forbid it. GitHub says: %s", r, sentence(said))}
}

func (r *repository) unknown(doing string, err error) error {
	return &gitops.Refusal{Code: gitops.Unreachable, Cause: fmt.Errorf("%s: %w: %w", doing, promotion.ErrOutcomeUnknown, err),
		Reason: fmt.Sprintf("GitHub did not say whether it did it, when ferry wanted to %s. Look at %s before you try again.", doing, r)}
}
