package fleet_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/testenv/fleet"
)

const automation = `
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: web, namespace: flux-system, labels: {team: web}}
spec: {imageRepositoryRef: {name: web}, policy: {semver: {range: 1.x}}}
---
apiVersion: image.toolkit.fluxcd.io/v1beta2
kind: ImageUpdateAutomation
metadata: {name: robot, namespace: flux-system}
spec:
  interval: 1h
  sourceRef: {kind: GitRepository, name: fleet}
  git: {checkout: {ref: {branch: main}}, commit: {author: {email: robot@example.com}}}
  policySelector: {matchLabels: {team: web}}
  update: {path: ./apps/stage}
`

func TestImageAutomationThatWouldUndoAChange(t *testing.T) {
	c := start(t)
	const (
		file = "apps/stage/kustomization.yaml"
		line = "promote web@1.9.9 to stage"
		undo = "ImageUpdateAutomation/flux-system/robot would undo this: it writes 1.8.0 there at its next run"
	)
	write := func(content string) {
		t.Helper()
		if _, err := c.Hub.Commit(fleet.Repository, "main", "alice", "Edit "+file, map[string]string{file: content}); err != nil {
			t.Fatal(err)
		}
	}
	before := c.git("show", "main:"+file) + "\n"
	write(regexp.MustCompile(`newTag: \S+`).ReplaceAllString(before, `$0 # {"$$imagepolicy": "flux-system:web:tag"}`))
	defer write(before)
	unwarned := func(when string) {
		t.Helper()
		if answer, _ := c.say(line); !strings.Contains(answer, "Promote web on stage?") || strings.Contains(answer, "undo") || strings.Contains(answer, "image automation") {
			t.Errorf("%s:\n%s", when, answer)
		}
	}
	unwarned("without image automation")

	stage := c.Clusters["stage"]
	if err := stage.InstallImageAutomation(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := stage.Apply(t.Context(), []byte(automation)); err != nil {
		t.Fatal(err)
	}
	object := func(kind, name string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{}
		o.SetAPIVersion("image.toolkit.fluxcd.io/v1")
		o.SetKind(kind)
		o.SetNamespace("flux-system")
		o.SetName(name)
		return o
	}
	policy, robot := object("ImagePolicy", "web"), object("ImageUpdateAutomation", "robot")
	defer func() {
		for _, o := range []client.Object{policy, robot} {
			if err := stage.Client().Delete(context.Background(), o); err != nil {
				t.Error(err)
			}
		}
	}()
	unwarned("before an image is found")
	found := client.RawPatch(types.MergePatchType, []byte(`{"status": {"latestRef": {"name": "ghcr.io/acme/web", "tag": "1.8.0"}}}`))
	if err := stage.Client().Status().Patch(t.Context(), policy, found); err != nil {
		t.Fatal(err)
	}
	c.sees(line, undo, "flux suspend image update robot -n flux-system", file+" line")
	if err := stage.Client().Patch(t.Context(), robot, client.RawPatch(types.MergePatchType, []byte(`{"spec": {"suspend": true}}`))); err != nil {
		t.Fatal(err)
	}
	unwarned("while it is suspended")
}
