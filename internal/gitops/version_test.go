package gitops

import "testing"

func TestExactVersion(t *testing.T) {
	for _, v := range []string{"7.0.0", "v7.0.0", "8.0.0-next.1", "1.2.3-linux", "1.2.3-fix1", "1.2.3+build"} {
		if !ExactVersion(v) {
			t.Errorf("%s is one version", v)
		}
	}
	for _, v := range []string{"7", "7.0", "7.x", "*", ">=1.0.0", "1.0.0 - 2.0.0", "~1.2.3", "", "latest", "7.0.0 "} {
		if ExactVersion(v) {
			t.Errorf("%q is more than one version", v)
		}
	}
}

func TestSameVersion(t *testing.T) {
	for _, same := range [][2]string{{"7.0.0", "7.0.0"}, {"v7.0.0", "7.0.0"}, {"1.0.0_build", "1.0.0+893c715645fd"}, {"stable", "stable"}} {
		if !SameVersion(same[0], same[1]) {
			t.Errorf("%s and %s are the same", same[0], same[1])
		}
	}
	for _, other := range [][2]string{{"16.5.3", "6.5.3"}, {"7.0.0", "7.0.1"}, {"7.0.0-rc.1", "7.0.0"}, {"stable", "latest"}, {"stable", "7.0.0"}} {
		if SameVersion(other[0], other[1]) {
			t.Errorf("%s and %s are not the same", other[0], other[1])
		}
	}
}
