package blueprint

import (
	"errors"
	"strings"
	"testing"
)

type pull struct {
	Title  *string
	Number *int
	Gone   *string
	Labels []string
}

func TestText(t *testing.T) {
	title, number := "Add {{ .Gone }} <!channel>", 7
	data := pull{Title: &title, Number: &number, Labels: []string{"a", "b"}}
	for text, want := range map[string]string{
		"#{{ .Number }} {{ .Title }}":                             "#7 Add {{ .Gone }} <!channel>",
		"gone: {{ .Gone }}.":                                      "gone: .",
		"{{ range $i, $l := .Labels }}{{ $i }}{{ $l }} {{ end }}": "0a 1b ",
		"{{ with .Gone }}x{{ else }}none{{ end }}":                "none",
		`{{ join "," .Labels }}`:                                  "a,b",
		"no value":                                                "no value",
		"":                                                        "",
	} {
		parsed, err := ParseText(text, nil)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got, err := parsed.Execute(data); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"{{ .Title", `{{ env "HOME" }}`, "{{ end }}", strings.Repeat("x", maxTemplate+1)} {
		if _, err := ParseText(text, nil); err == nil {
			t.Errorf("%.20s is taken", text)
		}
	}
	for _, text := range []string{"{{ .Nope }}", `{{ printf "%9999999d" .Number }}`} {
		parsed, err := ParseText(text, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parsed.Execute(data); err == nil {
			t.Errorf("%s is %q", text, got)
		}
	}
}

func TestTextAsksAboutItsValuesAlone(t *testing.T) {
	title := "a --yes"
	allowed := func(value string) bool { return value != "" && !strings.Contains(value, " ") }
	for text, fine := range map[string]bool{
		"diff --yes {{ len .Labels }}":            true,
		"diff {{ .Title }}":                       false,
		"diff {{ .Gone }}":                        false,
		"diff {{ with .Title }}{{ . }}{{ end }}":  false,
		"diff {{ $t := .Title }}{{ $t }}":         false,
		"diff {{ if .Title }}a b{{ end }}":        true,
		"{{ range .Labels }}{{ . }} -x {{ end }}": true,
	} {
		parsed, err := ParseText(text, allowed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parsed.Execute(pull{Title: &title, Labels: []string{"a"}}); (err == nil) != fine || !fine && !errors.Is(err, ErrValue) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestNobodyIsCalled: Mattermost calls people by names that stand behind a dot, a dash or an underscore, too.
func TestNobodyIsCalled(t *testing.T) {
	for _, text := range []string{"@alice", "(@alice)", ".@alice", "-@alice", "_@alice", "x.@alice", "x-@alice", "@@alice", "x@all"} {
		if got := harmless(text); !strings.Contains(got, "@\u200ba") {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
	for _, text := range []string{"jane.doe@example.com", "podinfo@sha256:0", "promote podinfo@7.0.0 to prod", "at @ 7"} {
		if got := harmless(text); got != text {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
}
