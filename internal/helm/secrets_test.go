package helm

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/blueprints"
	"github.com/ferry-chatops/ferry/internal/blueprint"
	"github.com/ferry-chatops/ferry/internal/compare"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/render"
	"github.com/ferry-chatops/ferry/internal/report"
)

// Of one hundred secrets, in a thousand manifests, no eight characters are in anything that comes out: reports in all forms,
// messages, logs, errors, what is kept, and what is sent to clusters of those that Git does not hold. They are in Secrets that
// fill in variables, whole and in part, and values of charts, which put them into base64, and in the manifests themselves.
// The control has ConfigMaps in the place of the Secrets and looks at what is compared before it is masked: what is not
// found there would prove nothing.
func TestReportsKeepSecrets(t *testing.T) {
	const perReview, seeds = 50, 5 // manifests, and secrets in them
	reviews := 20
	if testing.Short() {
		reviews = 2
	}
	raw, err := os.ReadFile("../report/testdata/secrets.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var places map[string]string
	if err := yaml.Unmarshal(raw, &places); err != nil {
		t.Fatal(err)
	}
	renderer := NewRenderer(New(time.Now))
	found, control, told := 0, 0, 0
	for n := range reviews {
		r := rand.New(rand.NewPCG(uint64(n), 7)) //nolint:gosec // the same every time
		var secrets []string
		for range seeds {
			secrets = append(secrets, seededSecret(r))
		}
		manifests := manifests(r, places, perReview)
		for _, open := range []bool{false, true} {
			w := newSeeded(t, renderer, manifests, secrets, open)
			out, changed := w.outputs(t)
			if open {
				out = w.compared()
			} else {
				told += changed
			}
			windows := map[string]bool{}
			for i := 0; i+window <= len(out); i++ {
				windows[out[i:i+window]] = true
			}
			for i, secret := range secrets {
				part := leaked(windows, secret)
				switch {
				case open && part != "":
					control++
				case !open && part != "":
					found++
					at := strings.Index(out, part)
					t.Errorf("review %d shows %q of secret %d:\n…%s…", n, part, i, out[max(0, at-400):min(len(out), at+200)])
				}
			}
		}
	}
	t.Logf("%d of %d secrets shown, %d by the control; %d objects told of", found, reviews*seeds, control, told)
	if control < reviews*seeds*95/100 {
		t.Errorf("the control shows %d of %d secrets: this proves nothing", control, reviews*seeds)
	}
	if told < reviews*perReview*3/4 {
		t.Errorf("only %d objects of %d manifests were told of", told, reviews*perReview)
	}
}

const window = 8

// leaked is a part of a secret, in whatever case, in plain or in base64, that is among the windows; empty: none is.
func leaked(windows map[string]bool, secret string) string {
	forms := []string{secret, strings.ToUpper(secret), strings.ToLower(secret)}
	for shift := range 3 {
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + secret))
		forms = append(forms, encoded[4:len(encoded)-4])
	}
	for _, form := range forms {
		for i := 0; i+window <= len(form); i++ {
			if windows[form[i:i+window]] {
				return form[i : i+window]
			}
		}
	}
	return ""
}

func seededSecret(r *rand.Rand) string {
	alphabets := []string{"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "0123456789abcdef", "abcdefghijkmnopqrstuvwxyz0123456789-_"}
	alphabet := alphabets[r.IntN(len(alphabets))]
	text := []byte{"kqzxw"[r.IntN(5)]}
	for range 18 + r.IntN(20) {
		text = append(text, alphabet[r.IntN(len(alphabet))])
	}
	return string(append(text, "kqzxw"[r.IntN(5)]))
}

// twoSides are a manifest before and after; in it, ‹N› stands for a secret in Git, and ${VN} for one in the cluster.
type twoSides struct{ before, after string }

// consumers are how manifests take variables: whole, in part, changed, within texts, keys and names.
var consumers = []string{
	"kind: ConfigMap\ndata: {a: '${V}', colour: RED}",
	"kind: ConfigMap\ndata: {a: 'x-${V:2:12}-RED'}",
	"kind: ConfigMap\ndata: {a: '${V:4}', b: '${V/k/z}', c: '${V^^}', d: 'RED'}",
	"kind: ConfigMap\ndata: {a: '${V%k}', b: '${V:-none}', c: '${V,,}', d: 'RED'}",
	"kind: ConfigMap\ndata: {values.yaml: \"colour: RED\\nb: ${V}\\n\"}",
	"kind: ConfigMap\ndata: {values.yaml: \"colour: RED\\nb: {c: [x, '${V}-y']}\\n\"}",
	"kind: ConfigMap\ndata: {a.json: '{\"colour\": \"RED\", \"b\": \"${V}\"}'}",
	"kind: ConfigMap\ndata: {a.conf: \"one\\ncolour RED\\nhost ${V}\\nlast\\n\"}",
	"kind: ConfigMap\ndata: {a: RED, 'k-${V:0:10}': x}",
	"kind: ConfigMap\nmetadata: {annotations: {note: '${V}'}, labels: {part: 'a${V:0:9}'}}\ndata: {colour: RED}",
	"kind: Service\nspec: {externalName: '${V}.example', type: RED}",
	"kind: Deployment\nspec: {template: {spec: {containers: [{name: web, image: 'acme/web:RED', env: [{name: HOST, value: '${V}'}, {name: COLOUR, value: RED}]}]}}}",
	"kind: Deployment\nspec: {template: {spec: {containers: [{name: web, image: 'acme/web:RED', args: ['--host=${V}', RED]}]}}}",
	"kind: Deployment\nspec: {template: {spec: {containers: [{name: web, image: 'acme/web:${V:0:12}', args: [RED]}]}}}",
	"kind: Deployment\nspec: {template: {spec: {containers: [{name: '${V}', image: 'acme/web:RED'}]}}}",
	"kind: Secret\nstringData: {url: 'https://RED:${V}@x'}",
	"kind: Thing\nspec: {hosts: ['${V}', RED], list: [[a, '${V}'], [RED]]}",
	"kind: Thing\nspec: {people: [{name: '${V}', age: 1}, {name: RED}]}",
	"kind: Thing\nspec: {people: [{id: 1, of: '${V}'}, {id: 2, of: RED}], colour: RED}",
}

// manifests are n, of which half take secrets from the cluster and half hold them.
func manifests(r *rand.Rand, places map[string]string, n int) map[string]twoSides {
	names := slices.Sorted(maps.Keys(places))
	all := map[string]twoSides{}
	for i := range n {
		text := consumers[r.IntN(len(consumers))]
		if i%2 == 1 {
			text = places[names[r.IntN(len(names))]]
		}
		var fields map[string]any
		if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
			panic(err)
		}
		name := fmt.Sprintf("m-%02d", i)
		metadata, _ := fields["metadata"].(map[string]any)
		if metadata == nil {
			metadata = map[string]any{}
		}
		metadata["name"], metadata["namespace"], fields["metadata"] = name, "shop", metadata
		switch fields["kind"] {
		case "ConfigMap", "Secret", "Service":
			fields["apiVersion"] = "v1"
		case "Deployment":
			fields["apiVersion"] = "apps/v1"
		default:
			fields["apiVersion"] = "example.com/v1"
		}
		written, err := yaml.Marshal(fields)
		if err != nil {
			panic(err)
		}
		first, second := r.IntN(5), r.IntN(5)
		side := func(secret int, colour string) string {
			return strings.NewReplacer("${V", fmt.Sprintf("${V%d", secret), "§64", fmt.Sprintf("‹%d›64", secret), "§#", fmt.Sprint(secret), "§", fmt.Sprintf("‹%d›", secret), "RED", colour).Replace(string(written))
		}
		if second == first && i%2 == 1 {
			second = (first + 1) % 5
		}
		m := twoSides{side(first, "red"), side(second, "blue")}
		switch r.IntN(10) {
		case 0:
			m.before = ""
		case 1:
			m.after = ""
		}
		all[name] = m
	}
	return all
}

// A seeded is a repository and a cluster with secrets in them: Pulls and Live at once.
type seeded struct {
	base, head fstest.MapFS
	flux       []render.Object
	objects    map[string]map[string]any
	tried      []operation.Trial
	reviews    *operation.Reviews
	log        bytes.Buffer
}

const seededChart = `apiVersion: v1
kind: ConfigMap
metadata: {name: charted, namespace: shop, annotations: {checksum/config: '{{ .Values.db.word | sha256sum }}'}}
data:
  colour: COLOUR
  encoded: '{{ .Values.db.word | b64enc }}'
  part: '{{ .Values.db.other | trunc 12 }}'
  conf: |
    colour COLOUR
    word {{ .Values.db.other | upper }}
---
apiVersion: v1
kind: Secret
metadata: {name: charted, namespace: shop}
data: {word: '{{ .Values.db.word | b64enc }}', colour: '{{ "COLOUR" | b64enc }}'}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: charted, namespace: shop}
spec: {template: {metadata: {labels: {colour: COLOUR}}, spec: {containers: [{name: web, image: web, env: [{name: HOST, value: '{{ .Values.db.word }}'}]}]}}}
`

// newSeeded puts secrets in their places. Open has ConfigMaps in the place of the cluster's Secrets.
func newSeeded(t *testing.T, charts render.ChartRenderer, all map[string]twoSides, secrets []string, open bool) *seeded {
	t.Helper()
	kind := "Secret"
	if open {
		kind = "ConfigMap"
	}
	var replace []string
	values := map[string]string{}
	for i, secret := range secrets {
		replace = append(replace, fmt.Sprintf("‹%d›64", i), base64.StdEncoding.EncodeToString([]byte(secret)), fmt.Sprintf("‹%d›", i), secret)
		values[fmt.Sprintf("V%d", i)] = secret
	}
	put := strings.NewReplacer(replace...)
	w := &seeded{base: fstest.MapFS{}, head: fstest.MapFS{}, objects: map[string]map[string]any{}}
	write := func(name, before, after string) {
		for tree, text := range map[*fstest.MapFS]string{&w.base: before, &w.head: after} {
			if text != "" {
				(*tree)[name] = &fstest.MapFile{Data: []byte(put.Replace(text))}
			}
		}
	}
	for name, m := range all {
		write("web/"+name+".yaml", m.before, m.after)
	}
	write("web/fixed.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: fixed, namespace: shop}}", "{apiVersion: v1, kind: ConfigMap, metadata: {name: fixed, namespace: shop}}")
	applied := "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: web, namespace: flux-system}\nspec: {path: ./web, prune: true, sourceRef: {kind: GitRepository, name: fleet}, postBuild: {substituteFrom: [{kind: " + kind + ", name: settings}]}}\n"
	release := "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: charted, namespace: shop}\nspec: {chart: {spec: {chart: ./charts/web, sourceRef: {kind: GitRepository, name: fleet, namespace: flux-system}}}, valuesFrom: [{kind: " + kind +
		", name: chart}, {kind: " + kind + ", name: chart, valuesKey: word, targetPath: db.word}]}\n"
	const source = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: fleet, namespace: flux-system}\nspec: {url: https://github.com/acme/fleet}\n"
	write("apps/web.yaml", applied, applied)
	write("apps/release.yaml", release, release)
	write("charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\n", "apiVersion: v2\nname: web\nversion: 1.2.4\n")
	write("charts/web/templates/all.yaml", strings.ReplaceAll(seededChart, "COLOUR", "red"), strings.ReplaceAll(seededChart, "COLOUR", "blue"))

	chartValues := map[string]any{"values.yaml": fmt.Sprintf("db: {other: %q, plain: x}\n", secrets[0]), "word": secrets[1]}
	settings := map[string]any{}
	for name, value := range values {
		settings[name] = value
	}
	secret := func(namespace, name string, data map[string]any) render.Object {
		return render.Object{Object: gitops.Object{Kind: kind, Namespace: namespace, Name: name}, Fields: map[string]any{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": name, "namespace": namespace}, "data": data}}
	}
	w.flux = []render.Object{object(t, strings.NewReplacer("name: web,", "name: apps,", "./web", "./apps", ", postBuild: {substituteFrom: [{kind: "+kind+", name: settings}]}", "").Replace(applied)),
		object(t, applied), object(t, release), object(t, source)}
	if open {
		w.flux = append(w.flux, secret("flux-system", "settings", settings), secret("shop", "chart", chartValues))
	}

	// What runs is the base, with the secrets.
	built, err := render.Build(t.Context(), w.base, gitops.Kustomization{Path: "web"})
	if err != nil {
		t.Fatal(err)
	}
	live, err := render.Substitute(built.Objects, render.Variables{Values: values}, false)
	if err != nil {
		t.Fatal(err)
	}
	maps := []render.Object{secret("shop", "chart", chartValues)}
	if !open {
		encoded := map[string]any{}
		for key, v := range chartValues {
			encoded[key] = base64.StdEncoding.EncodeToString([]byte(v.(string)))
		}
		maps[0].Fields["data"] = encoded
	}
	expanded, err := charts.Expand(t.Context(), render.Release{Object: object(t, release), Source: object(t, source), Files: w.base, Maps: maps, Installed: 1})
	if err != nil {
		t.Fatal(err)
	}
	var entries []any
	for _, o := range live {
		group, version, grouped := strings.Cut(o.Fields["apiVersion"].(string), "/")
		if !grouped {
			group, version = "", group
		}
		entries = append(entries, map[string]any{"id": o.Namespace + "_" + o.Name + "_" + group + "_" + o.Kind, "v": version})
		metadata := o.Fields["metadata"].(map[string]any)
		labels, _ := metadata["labels"].(map[string]any)
		if labels == nil {
			labels = map[string]any{}
		}
		labels["kustomize.toolkit.fluxcd.io/name"], labels["kustomize.toolkit.fluxcd.io/namespace"], metadata["labels"] = "web", "flux-system", labels
	}
	w.flux[1].Fields["status"] = map[string]any{"inventory": map[string]any{"entries": entries}}
	for _, o := range slices.Concat(live, expanded.Objects, w.flux[1:3]) {
		w.objects[o.String()] = o.Fields
	}
	ignore, err := report.Compile(report.Defaults)
	if err != nil {
		t.Fatal(err)
	}
	w.reviews = &operation.Reviews{Pulls: w, Live: w, Charts: charts, Ignore: ignore, Now: func() time.Time { return time.Unix(0, 0) }, Key: func() string { return "key" },
		Log:     slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Follows: func(_ string, s gitops.Source) (string, string, bool) { return "acme/fleet", "main", true }}
	return w
}

// outputs are all that people and programs get to see, and how many objects it tells of.
func (w *seeded) outputs(t *testing.T) (string, int) {
	t.Helper()
	made, err := w.reviews.Review(t.Context(), gitops.Review{Number: 7, Repository: "acme/fleet"})
	if err != nil {
		t.Fatal(err)
	}
	set, err := blueprint.Load(blueprints.Files)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := report.Encode(made)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := report.Decode(packed)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := report.JSON(kept)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{fmt.Sprintf("%+v", made), string(asJSON), report.Text(kept), strings.Join(report.Markdown(kept), "\n"), w.log.String()}
	card := report.Card{Report: kept}
	pages := []report.Card{card}
	for _, e := range kept.Environments {
		card.Environment = e.Environment
		for card.Page = 1; card.Page <= card.Pages(); card.Page++ {
			pages = append(pages, card)
		}
	}
	for i, page := range pages {
		name := "details"
		if i == 0 {
			name = "report"
		}
		for _, interactive := range []bool{true, false} {
			messages, err := set.Messages(name, page, blueprint.Platform{Interactive: interactive, Plugin: "ferry"})
			if err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(messages)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(raw))
		}
	}
	changed := 0
	for _, e := range made.Environments {
		if e.Error != "" {
			t.Fatalf("%s: %s\n%s", e.Environment, e.Error, &w.log)
		}
		for _, o := range e.Objects {
			if o.Verdict == report.Skipped {
				t.Errorf("%s is skipped: %s", o, o.Reason)
			}
			if len(o.Changes) > 0 {
				changed++
			}
		}
	}
	return strings.Join(out, "\n"), changed
}

// compared is what the comparison finds of what was tried, before anything is masked.
func (w *seeded) compared() string {
	var b strings.Builder
	for _, trial := range w.tried {
		live := w.objects[trial.Object.String()]
		for _, d := range compare.Objects(trial.Object.Kind, live, merged(live, trial.Object.Fields), compare.Options{Sealed: true}) {
			fmt.Fprintf(&b, "%s %s\n%v\n%v\n", trial.Object, d.Path, d.Before, d.After)
		}
	}
	return b.String()
}

// merged lays fields over those of a live object.
func merged(live, fields map[string]any) map[string]any {
	out := maps.Clone(live)
	if out == nil {
		return fields
	}
	for key, v := range fields {
		x, ok := v.(map[string]any)
		if y, both := out[key].(map[string]any); ok && both {
			v = merged(y, x)
		}
		out[key] = v
	}
	return out
}

func (w *seeded) Pull(_ context.Context, repository string, number int) (operation.Pull, error) {
	return operation.Pull{Repository: repository, Number: number, Title: "A change", State: "open", Branch: "change", Head: "head", Base: "main", BaseCommit: "base"}, nil
}

func (w *seeded) Branch(ctx context.Context, repository, _, _ string) (operation.Pull, error) {
	return w.Pull(ctx, repository, 0)
}

func (w *seeded) MergeBase(context.Context, string, string, string) (string, error) {
	return "base", nil
}

func (w *seeded) Tree(_ context.Context, _, sha string) (fs.FS, error) {
	return map[string]fs.FS{"base": w.base, "head": w.head}[sha], nil
}

func (w *seeded) Merge(context.Context, []byte, []byte, []byte) ([]byte, bool, error) {
	return nil, false, nil
}

func (w *seeded) Environments() []string { return []string{"prod"} }

func (w *seeded) Kustomizations(context.Context, string) ([]gitops.Kustomization, error) {
	source := gitops.Source{Object: gitops.Object{Kind: "GitRepository", Namespace: "flux-system", Name: "fleet"}, URL: "https://github.com/acme/fleet", Branch: "main"}
	return []gitops.Kustomization{{Namespace: "flux-system", Name: "apps", Path: "apps", Source: source}, {Namespace: "flux-system", Name: "web", Path: "web", Source: source}}, nil
}

func (w *seeded) Flux(context.Context, string) ([]render.Object, error) { return w.flux, nil }

func (w *seeded) Keys(_ context.Context, _, namespace, name string) ([]string, map[string][]string, bool, error) {
	if name == "chart" {
		return []string{"values.yaml", "word"}, map[string][]string{"values.yaml": {"db.other", "db.plain"}}, true, nil
	}
	return []string{"V0", "V1", "V2", "V3", "V4"}, nil, true, nil
}

func (w *seeded) Credential(context.Context, string, render.Object) (*render.Credential, error) {
	return nil, nil
}

func (w *seeded) Serves(context.Context, string, bool) (string, []string, error) {
	return "v1.34.2", nil, nil
}

func (w *seeded) Try(_ context.Context, _ string, trials []operation.Trial) (all []operation.Tried, err error) {
	w.tried = append(w.tried, trials...)
	for _, trial := range trials {
		one := operation.Tried{Live: w.objects[trial.Object.String()]}
		if trial.Way != operation.Looked {
			one.After = merged(one.Live, trial.Object.Fields)
		}
		all = append(all, one)
	}
	return all, nil
}
