package testenv_test

import (
	"testing"
	"time"

	"github.com/ferry-chatops/ferry/internal/testenv"
)

func TestClusters(t *testing.T) {
	begin := time.Now()
	env := testenv.Need(t, testenv.Options{Clusters: []string{"stage", "prod"}, Flux: true})
	t.Logf("two clusters with Flux: %s", time.Since(begin))
	_ = env
}
