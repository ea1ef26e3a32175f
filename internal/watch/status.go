package watch

import "time"

// A Status is how the watching goes.
type Status struct {
	Repositories []RepositoryStatus // in configuration order
	Streams      []StreamStatus     // sorted by id
	// State is why what was found cannot be put on record, in which case nothing is told; nil while it can.
	State error
	// Stretched says that there are too many repositories for their intervals, so quiet ones are looked at less often.
	Stretched bool
}

// A RepositoryStatus is that of one repository.
type RepositoryStatus struct {
	Name        string
	LastSuccess time.Time     // zero: none since the start
	Interval    time.Duration // that holds at present
	Next        time.Time
	Failures    int   // in a row
	LastError   error // of those; nil without
	Looks       int   // since the start
	Unchanged   int   // of these
	Events      int   // since the start
	Known       int   // pull requests
	Outbox      int   // events that a stream has not got yet
}

// A StreamStatus is that of one stream.
type StreamStatus struct {
	ID          string
	Connected   bool
	Outstanding int
	Delivered   int // since the start
}
