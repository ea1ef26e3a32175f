package gitops

import "time"

// httpTime is the form of dates in HTTP headers (RFC 9110, 5.6.7).
const httpTime = "Mon, 02 Jan 2006 15:04:05 GMT"

// Skew is what another machine's clock is ahead of ours, by the Date header of its answer to a request that we sent at
// begin and had answered at end. The header counts whole seconds. Zero if it is not a date.
func Skew(date string, begin, end time.Time) time.Duration {
	theirs, err := time.Parse(httpTime, date)
	if err != nil {
		return 0
	}
	const half = time.Second / 2 // what the header leaves out, on average
	return theirs.Add(half).Sub(begin.Add(end.Sub(begin) / 2))
}
