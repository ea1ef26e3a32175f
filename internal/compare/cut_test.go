package compare

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, text string) (m map[string]any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestWithoutWhatDependsOnASecret: what two renders do not have alike is left out of a third, and a text of which it is a part
// is as another render has it.
func TestWithoutWhatDependsOnASecret(t *testing.T) {
	with := func(secret, colour string) map[string]any {
		text := `{"spec": {"containers": [{"name": "side"}, {"name": "web", "image": "web", "env": [{"name": "PASSWORD", "value": "` + secret + `"}, {"name": "COLOUR", "value": "red"}]}]},
			"data": {"app.yaml": "password: ` + secret + `\ncolour: ` + colour + `\n", "other": "x"}}`
		return object(t, text)
	}
	hidden := Depends(with("one", "red"), with("two", "red"))
	live := with("hunter2", "red")
	cut := Without(live, hidden)
	want := object(t, `{"spec": {"containers": [{"name": "side"}, {"name": "web", "image": "web", "env": [{"name": "PASSWORD"}, {"name": "COLOUR", "value": "red"}]}]}, "data": {"other": "x"}}`)
	if diff := cmp.Diff(want, cut); diff != "" {
		t.Errorf("without (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(with("hunter2", "red"), live); diff != "" {
		t.Errorf("the object changed:\n%s", diff)
	}
	want["data"] = map[string]any{"other": "x", "app.yaml": "password: one\ncolour: blue\n"}
	if diff := cmp.Diff(want, Graft(cut, with("one", "blue"), hidden)); diff != "" {
		t.Errorf("grafted (-want +got):\n%s", diff)
	}
}

// TestWithoutListsThatAreNamedOtherwise: where the items of a list are not to be told apart as in the paths, nothing of it is left.
func TestWithoutListsThatAreNamedOtherwise(t *testing.T) {
	for _, live := range []string{
		`{"spec": {"env": [{"name": "A", "value": "hunter2"}, {"name": "A", "value": "x"}]}}`,
		`{"spec": {"env": [{"id": "A", "value": "hunter2"}]}}`,
	} {
		if cut := Without(object(t, live), []string{"spec.env[name=A].value"}); len(cut) != 0 {
			t.Errorf("%v", cut)
		}
	}
}
