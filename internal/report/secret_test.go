package report

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// places are where secrets stand in manifests, as §; §64 is in base64, and §# as digits.
var places = sync.OnceValue(func() (all map[string]string) {
	raw, err := os.ReadFile("testdata/secrets.yaml")
	if err == nil {
		err = yaml.Unmarshal(raw, &all)
	}
	if err != nil || len(all) < 50 {
		panic(fmt.Sprintf("%d places: %v", len(all), err))
	}
	return all
})

// put gives a manifest with a secret in its places, and both the value and its base64.
func put(place, secret string) string {
	digits := ""
	for _, r := range secret {
		digits += fmt.Sprint(int(r) % 10)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(secret))
	return strings.NewReplacer("§64", encoded, "§#", digits, "§", secret).Replace(place)
}

// shows are all forms in which people and programs get a report.
func shows(t testing.TB, o Object) string {
	t.Helper()
	r := Report{Repository: "a/b", Number: 1, Environments: []Environment{{Environment: "prod", Objects: []Object{o}}}}
	raw, err := JSON(r)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := Decode(packed)
	if err != nil {
		t.Fatal(err)
	}
	card := Card{Report: kept, Environment: "prod"}
	return strings.Join([]string{string(raw), Text(kept), strings.Join(Markdown(kept), ""), card.Code(), Card{Report: kept}.InFull(), strings.Join(Card{Report: kept}.Objects(), "\n"), fmt.Sprintf("%+v", kept)}, "\n")
}

// compared compares a place with secrets, in all ways that an object may change.
func compared(t testing.TB, place, one, other string) map[string]Object {
	t.Helper()
	before, after := object(t, put(place, one)), object(t, put(place, other))
	kind, _ := before["kind"].(string)
	pair := Pair{Object: gitops.Object{Kind: kind, Namespace: "shop", Name: "a"}, Before: before, After: after}
	created, deleted := pair, pair
	created.Before, deleted.After = nil, nil
	return map[string]Object{"changed": Compare(pair, nil), "created": Compare(created, nil), "deleted": Compare(deleted, nil)}
}

func TestSecretsAreMasked(t *testing.T) {
	const one, other = "hunter2Kx9Qz", "zQ81correctHorse"
	for name, place := range places() {
		t.Run(name, func(t *testing.T) {
			for how, o := range compared(t, place, one, other) {
				shown := shows(t, o)
				for _, secret := range []string{one, other} {
					for _, form := range []string{secret, put("§64", secret), put("§#", secret)} {
						if strings.Contains(shown, form) {
							t.Errorf("%s shows %q:\n%s", how, form, Text(Report{Environments: []Environment{{Environment: "prod", Objects: []Object{o}}}}))
							break
						}
					}
				}
				if how == "changed" && (len(o.Changes) == 0 || !strings.Contains(shown, "***")) {
					t.Errorf("nothing is told: %+v", o)
				}
			}
		})
	}
}

// What only sounds like a secret stays readable.
func TestWhatIsNotSecretIsShown(t *testing.T) {
	for name, place := range map[string]string{
		"image":                  pod + "containers: [{name: token-issuer, image: 'acme/token-issuer:§'}]}}}",
		"reference":              pod + "containers: [{name: a, env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: '§', key: password}}}]}]}}}",
		"key of it":              pod + "containers: [{name: a, env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: db, key: '§'}}}]}]}}}",
		"volume":                 pod + "volumes: [{name: a, secret: {secretName: '§'}}]}}}",
		"volume of sources":      pod + "volumes: [{name: a, projected: {sources: [{secret: {name: '§'}}]}}]}}}",
		"pull secret":            pod + "imagePullSecrets: [{name: '§'}]}}}",
		"file":                   "kind: A\nspec: {tokenFile: '/etc/§'}",
		"rights":                 "kind: Role\nrules: [{apiGroups: [''], resources: [secrets], resourceNames: ['§']}]",
		"a Secret's type":        "kind: Secret\ntype: '§'",
		"a Secret's label":       "kind: Secret\nmetadata: {name: a, labels: {app: '§'}}",
		"a schema":               "kind: CustomResourceDefinition\nspec: {versions: [{name: v1, schema: {openAPIV3Schema: {properties: {password: {description: '§'}}}}}]}",
		"a host":                 "kind: ConfigMap\ndata: {url: 'postgres://app:secret@§:5432/app'}",
		"an address":             "kind: GitRepository\nspec: {url: 'https://§/acme/fleet@main'}",
		"seconds":                pod + "volumes: [{name: a, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 3600, audience: '§'}}]}}]}}}",
		"existing":               "kind: HelmRelease\nspec: {values: {auth: {existingSecret: '§'}}}",
		"a line beside a secret": "kind: ConfigMap\ndata: {a.txt: \"password: x\\nhost: §\\nb: {\\n\"}",
		"a certificate":          "kind: ConfigMap\ndata: {ca.crt: \"-----BEGIN CERTIFICATE-----\\n§\\n-----END CERTIFICATE-----\\n\"}",
		"a sentence":             "kind: A\nspec: {description: 'a secret of §'}",
	} {
		t.Run(name, func(t *testing.T) {
			for how, o := range compared(t, place, "hunter2Kx9Qz", "zQ81correctHorse") {
				shown := fmt.Sprint(o.Changes)
				if how == "changed" && (!strings.Contains(shown, "hunter2Kx9Qz") || !strings.Contains(shown, "zQ81correctHorse")) || how == "created" && !strings.Contains(shown, "zQ81correctHorse") {
					t.Errorf("%s:\n%s", how, shown)
				}
			}
		})
	}
}

// secretOf makes a secret as people and programs do.
func secretOf(r *rand.Rand) string {
	alphabets := []string{"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "0123456789abcdef", "abcdefghijkmnopqrstuvwxyz0123456789-_", "ABCDEFGHJKLMNPQRSTUVWXYZ23456789+", "abcdefXYZ0123456789.~!*+"}
	alphabet := alphabets[r.IntN(len(alphabets))]
	var b strings.Builder
	b.WriteByte("kqzxw"[r.IntN(5)])
	for range 9 + r.IntN(30) {
		b.WriteByte(alphabet[r.IntN(len(alphabet))])
	}
	b.WriteByte("kqzxw"[r.IntN(5)])
	return b.String()
}

// One hundred secrets in a thousand manifests, each with several places, lists and blocks around them.
func TestNoSeededSecretIsShown(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same every time
	var secrets, names []string
	for range 100 {
		secrets = append(secrets, secretOf(r))
	}
	for name := range places() {
		names = append(names, name)
	}
	told := map[string]bool{}
	for n := range 1000 {
		one, other := secrets[n%100], secrets[r.IntN(100)]
		place := places()[names[r.IntN(len(names))]]
		more := places()[names[r.IntN(len(names))]]
		mixed := mix(t, r, place, more)
		for how, o := range compared(t, mixed, one, other) {
			shown := shows(t, o)
			for _, secret := range []string{one, other} {
				if strings.Contains(put(mixed, secret), secret) {
					told[secret] = true
				}
				if strings.Contains(shown, secret) || strings.Contains(shown, put("§64", secret)) {
					t.Fatalf("%s shows %q of\n%s\n\n%s", how, secret, put(mixed, secret), Text(Report{Environments: []Environment{{Environment: "prod", Objects: []Object{o}}}}))
				}
			}
		}
	}
	if len(told) < 95 {
		t.Errorf("only %d of the secrets are in the manifests", len(told))
	}
}

// mix puts the places of two manifests into one, among other fields.
func mix(t testing.TB, r *rand.Rand, place, more string) string {
	t.Helper()
	m, other := object(t, put(place, "§")), object(t, put(more, "§"))
	if strings.Contains(place+more, "§64") || strings.Contains(place+more, "§#") {
		return place // would be another text
	}
	if m["kind"] != other["kind"] {
		other = nil
	}
	for key, v := range other {
		if _, ok := m[key]; !ok {
			m[key] = v
		}
	}
	if spec, ok := m["spec"].(map[string]any); ok {
		spec["replicas"], spec["filler"] = r.IntN(5), []any{map[string]any{"name": "a", "x": strings.Repeat("y", r.IntN(40))}, "z"}
	}
	raw, err := yaml.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func FuzzCompare(f *testing.F) {
	for _, place := range places() {
		f.Add(put(place, "a"), put(place, "b"), true)
	}
	f.Add("a: [1, 2, 3]", "a: [3, {b: c}, 2]", false)
	f.Add("a: {b: null}", "a: []", false)
	f.Fuzz(func(t *testing.T, one, other string, stored bool) {
		var before, after map[string]any
		if yaml.Unmarshal([]byte(one), &before) != nil || yaml.Unmarshal([]byte(other), &after) != nil {
			return
		}
		kind, _ := after["kind"].(string)
		p := Pair{Object: gitops.Object{Kind: kind, Name: "a"}, Before: before, After: after, Stored: stored}
		o := Compare(p, rules(t))
		shows(t, o)
		if p.After = before; Compare(p, nil).Verdict == Configured {
			t.Errorf("it differs from itself: %+v", Compare(p, nil))
		}
	})
}
