package helm

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if !Work() {
		os.Exit(m.Run())
	}
}
