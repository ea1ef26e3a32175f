package promotion

import "errors"

// What a write to Git can meet beyond a plain refusal. A Repository's errors wrap them; test with errors.Is.
var (
	// ErrMoved says that the branch points elsewhere than expected, so nothing was written: plan again on the new head.
	ErrMoved = errors.New("the branch has moved")
	// ErrOutcomeUnknown says that it is not known whether the write happened: look for its effect before repeating it.
	ErrOutcomeUnknown = errors.New("the outcome of the write is unknown")
	// ErrPullRequestRequired says that the branch's rules forbade the commit, so nothing was written: a pull request may
	// still be possible.
	ErrPullRequestRequired = errors.New("the branch takes changes through pull requests only")
)
