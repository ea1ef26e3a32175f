package fleet_test

import "testing"

func TestCheck(t *testing.T) {
	c := start(t)
	c.say("check")
}
