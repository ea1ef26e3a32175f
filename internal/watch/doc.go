// Package watch follows pull requests on GitHub: it polls, compares fingerprints, matches rules, and hands over events that
// are on record before they are told.
//
// No event is lost between GitHub and the hand-over to a stream, apart from what happened and was undone between two looks. A
// process that ends between a hand-over and its note in the journal repeats that one event; where the journal is lost too, the
// hand-overs since the last flush, 30 s at most, are repeated. An event's key is the same whenever it is told, so people see that
// it is a repetition. Whoever takes it from the stream may still lose it: there is no acknowledgement beyond that.
package watch
