package render_test

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/render"
)

// TestSentinelsDifferEverywhere: whatever part of a value is used, in whatever coding, the two renders differ.
func TestSentinelsDifferEverywhere(t *testing.T) {
	for i := range 200 {
		name := fmt.Sprint("name", i)
		one, other := render.Sentinels{Key: "key", Shape: render.Words}.For(name), render.Sentinels{Key: "key", Shape: render.Digits}.For(name)
		if len(one) == len(other) {
			t.Fatalf("%s and %s are of one length", one, other)
		}
		differEverywhere(t, one, other)
		octal := render.Sentinels{Key: "key", Shape: render.Octal}.For(name)
		differEverywhere(t, one, octal)
		if n, err := strconv.ParseInt(octal, 0, 64); err != nil || n == 0 || octal[0] != '0' {
			t.Fatalf("%s: %d, %v", octal, n, err)
		}
		var text, number any
		if err := yaml.Unmarshal([]byte(one), &text); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal([]byte(other), &number); err != nil {
			t.Fatal(err)
		}
		if text != one || fmt.Sprintf("%.0f", number) != other {
			t.Fatalf("in YAML: %v, %v", text, number)
		}
		quoted := render.Quoted(render.Object{Fields: map[string]any{"list": []any{number, 3.0}}})
		if list := quoted.Fields["list"].([]any); list[0] != other || list[1] != 3.0 {
			t.Fatalf("quoted: %v", list)
		}
	}
	if key := (render.Sentinels{Key: "another", Shape: render.Words}); key.For("a") == (render.Sentinels{Key: "key", Shape: render.Words}).For("a") || key.For("a", "b") == key.For("ab") {
		t.Error("sentinels can be guessed")
	}
}

// differEverywhere holds two texts against each other, plain and in base64.
func differEverywhere(t *testing.T, one, other string) {
	t.Helper()
	for _, code := range []func(string) string{func(s string) string { return s }, func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }} {
		a, b := code(one), code(other)
		for at := range min(len(a), len(b)) {
			if a[at] == b[at] {
				t.Fatalf("%s and %s have the same at %d", a, b, at)
			}
		}
	}
}

// TestUnknownVariables: names that nobody knows get a sentinel, but for those with a default.
func TestUnknownVariables(t *testing.T) {
	stand := render.Sentinels{Key: "key", Shape: render.Words}
	objects := []render.Object{{Object: gitops.Object{Kind: "ConfigMap", Name: "web"}, Fields: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "web"},
		"data": map[string]any{"unknown": "a ${UNKNOWN}", "default": "${OTHER:-red}", "known": "${KNOWN}", "literal": "$${UNKNOWN}"}}}}
	filled, err := render.Substitute(objects, render.Variables{Values: map[string]string{"KNOWN": "x"}, Open: true, Unknown: &stand}, false)
	if err != nil {
		t.Fatal(err)
	}
	data := filled[0].Fields["data"].(map[string]any)
	for key, want := range map[string]string{"unknown": "a " + stand.For("UNKNOWN"), "default": "red", "known": "x", "literal": "${UNKNOWN}"} {
		if data[key] != want {
			t.Errorf("%s: %v, not %s", key, data[key], want)
		}
	}
}
