// Package watch follows pull requests on GitHub: it polls, compares fingerprints, matches rules, and hands over events that
// are on record before they are told.
package watch
