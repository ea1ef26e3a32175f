package fleet_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ferry-chatops/ferry/internal/cluster"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/watch"
)

func TestStateInConfigMaps(t *testing.T) {
	c := start(t)
	home, err := os.ReadFile(c.HomeFile)
	if err != nil {
		t.Fatal(err)
	}
	fleet, err := cluster.New(home, nil)
	if err != nil {
		t.Fatal(err)
	}
	one, other := fleet.State("ferry", "test"), fleet.State("ferry", "test")
	if data, version, err := one.Load(t.Context(), 3); len(data) != 0 || version != "" || err != nil {
		t.Fatalf("%q, %q, %v", data, version, err)
	}
	first, err := one.Save(t.Context(), 3, []byte("one\x00\xff"), "")
	if err != nil || first == "" {
		t.Fatal(first, err)
	}
	if _, err := other.Save(t.Context(), 3, []byte("other"), ""); !errors.Is(err, watch.ErrConflict) {
		t.Errorf("created twice: %v", err)
	}
	data, version, err := other.Load(t.Context(), 3)
	if string(data) != "one\x00\xff" || version != first || err != nil {
		t.Fatalf("%q, %q, %v", data, version, err)
	}
	second, err := other.Save(t.Context(), 3, bytes.Repeat([]byte("x"), 700<<10), version)
	if err != nil || second == first {
		t.Fatal(second, err)
	}
	if _, err := one.Save(t.Context(), 3, []byte("late"), first); !errors.Is(err, watch.ErrConflict) {
		t.Errorf("an older version wins: %v", err)
	}
	stage := c.Clusters["stage"].Client()
	if err := stage.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ferry", Name: "ferry-test-3"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Save(t.Context(), 3, []byte("late"), second); !errors.Is(err, watch.ErrConflict) {
		t.Errorf("what was removed is written: %v", err)
	}

	for _, text := range []string{`{"source": "test"}`, `{"source": "again"}`} {
		if err := one.Write(t.Context(), "report", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := other.Read(t.Context(), "report"); string(got) != text || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if reports, err := fleet.Reports(t.Context(), "ferry", "report"); len(reports) != 1 || string(reports[0]) != `{"source": "again"}` || err != nil {
		t.Errorf("%q, %v", reports, err)
	}
	if reports, err := fleet.Reports(t.Context(), "default", "report"); len(reports) != 0 || err != nil {
		t.Errorf("%q, %v", reports, err)
	}
	c.sees("status source", "Source again", "It follows no repository.", "It has written nothing for")

	var refusal *gitops.Refusal
	if _, err := fleet.State("nowhere", "test").Save(t.Context(), 0, nil, ""); !errors.As(err, &refusal) || refusal.Snippet != "kubectl create namespace nowhere" {
		t.Errorf("no namespace: %v", err)
	}
	admin, err := clientcmd.Load(home)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range admin.AuthInfos {
		user.Impersonate, user.ImpersonateGroups = "botkube-internal-static-user", []string{"nobody"}
	}
	raw, err := clientcmd.Write(*admin)
	if err != nil {
		t.Fatal(err)
	}
	powerless, err := cluster.New(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	state := powerless.State("ferry", "test")
	_, _, loadErr := state.Load(t.Context(), 0)
	_, saveErr := state.Save(t.Context(), 0, []byte("x"), "")
	for verb, err := range map[string]error{"get": loadErr, "create": saveErr} {
		if !errors.As(err, &refusal) || refusal.Code != gitops.Denied || !strings.Contains(refusal.Reason, "may not "+verb+" the ConfigMap ferry-test-0") || !strings.Contains(refusal.Snippet, "--group nobody") {
			t.Errorf("%s: %v", verb, err)
		}
	}
}
