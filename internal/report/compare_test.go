package report

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// object reads YAML; empty is none.
func object(t testing.TB, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &m); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

// rules are the defaults.
func rules(t testing.TB) Rules {
	t.Helper()
	all, err := Compile(Defaults)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func lines(o Object) (all []string) {
	for _, c := range o.Changes {
		all = append(all, c.Path+": "+c.Before+" → "+c.After)
	}
	return all
}

const pod = "kind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {"

func TestCompare(t *testing.T) {
	for name, tc := range map[string]struct {
		before, after string
		verdict       Verdict
		want          []string
		flags         []Flag
		folded        int
	}{
		"nothing": {"kind: A\nspec: {a: 1}", "kind: A\nspec: {a: 1}", Unchanged, nil, nil, 0},
		"a field": {"kind: A\nspec: {a: 1}", "kind: A\nspec: {a: 2}", Configured, []string{"spec.a: 1 → 2"}, nil, 0},
		"created": {"", "kind: A\nspec: {a: 1}\nstatus: {x: 1}\nmetadata: {name: a, uid: b}", Created, []string{": → kind: A\nmetadata:\n  name: a\nspec:\n  a: 1"}, nil, 0},
		"deleted": {"kind: Namespace", "", Deleted, []string{": kind: Namespace → "}, []Flag{Namespace}, 0},
		"claim":   {"kind: PersistentVolumeClaim", "", Deleted, []string{": kind: PersistentVolumeClaim → "}, []Flag{Data}, 0},
		"containers by name": {pod + "containers: [{name: a, image: x:1}, {name: b, image: y:1}]}}}", pod + "containers: [{name: b, image: y:1}, {name: a, image: x:2}]}}}", Configured,
			[]string{"spec.template.spec.containers: order: a, b → order: b, a", "spec.template.spec.containers[name=a].image: x:1 → x:2"}, []Flag{Restart}, 0},
		"ports by number": {"kind: Service\nspec: {ports: [{port: 80, targetPort: 1}, {port: 53, protocol: UDP}]}", "kind: Service\nspec: {ports: [{port: 53, protocol: UDP}, {port: 80, protocol: TCP, targetPort: 2}]}", Configured,
			[]string{"spec.ports[port=80].protocol:  → TCP", "spec.ports[port=80].targetPort: 1 → 2"}, nil, 0},
		"a port more": {"kind: Service\nspec: {ports: [{port: 80}]}", "kind: Service\nspec: {ports: [{port: 80}, {port: 81, name: x}]}", Configured,
			[]string{"spec.ports[port=81]:  → name: x\nport: 81"}, nil, 0},
		"arguments": {pod + "containers: [{name: a, args: [-v, --level=info, x]}]}}}", pod + "containers: [{name: a, args: [-v, --level=debug, --new, x]}]}}}", Configured,
			[]string{"spec.template.spec.containers[name=a].args[1]: --level=info → --level=debug", "spec.template.spec.containers[name=a].args[2]:  → --new"}, []Flag{Restart}, 0},
		"order of arguments":  {"kind: A\nspec: {args: [a, b]}", "kind: A\nspec: {args: [b, a]}", Configured, []string{"spec.args: - a\n- b → - b\n- a"}, nil, 0},
		"a set":               {"kind: A\nmetadata: {finalizers: [a, b]}", "kind: A\nmetadata: {finalizers: [c, b, a]}", Configured, []string{"metadata.finalizers:  → c"}, nil, 0},
		"quantities":          {"kind: A\nspec: {resources: {limits: {cpu: 1000m, memory: 1Gi}}}", "kind: A\nspec: {resources: {limits: {cpu: 1, memory: 1024Mi}}}", Unchanged, nil, nil, 0},
		"other quantities":    {"kind: A\nspec: {resources: {limits: {cpu: 1000m}}}", "kind: A\nspec: {resources: {limits: {cpu: 1100m}}}", Configured, []string{"spec.resources.limits.cpu: 1000m → 1100m"}, nil, 0},
		"what is not kept":    {"kind: A\nmetadata: {name: a, labels: {}}\nspec: {a: null, b: [], c: {}}", "kind: A\nmetadata: {name: a}\nspec: {c: {}}", Unchanged, nil, nil, 0},
		"an empty struct":     {"kind: A\nspec: {}", "kind: A\nspec: {emptyDir: {}}", Configured, []string{"spec.emptyDir:  → {}"}, nil, 0},
		"number and text":     {"kind: A\nspec: {a: 1}", "kind: A\nspec: {a: '1'}", Configured, []string{"spec.a: 1 → 1 (changed)"}, nil, 0},
		"written by nobody":   {"kind: A\nstatus: {a: 1}\nmetadata: {generation: 1}", "kind: A\nstatus: {a: 2}\nmetadata: {generation: 2}", Unchanged, nil, nil, 0},
		"noise":               {"kind: A\nmetadata: {labels: {helm.sh/chart: a-1}}", "kind: A\nmetadata: {labels: {helm.sh/chart: a-2}}", Unchanged, nil, nil, 1},
		"noise that restarts": {"kind: Deployment\nspec: {template: {metadata: {annotations: {checksum/config: a}}}}", "kind: Deployment\nspec: {template: {metadata: {annotations: {checksum/config: b}}}}", Unchanged, nil, []Flag{Restart}, 1},
		"YAML in a text":      {"kind: ConfigMap\ndata: {values.yaml: \"a: 1\\nb: 2\\n\"}", "kind: ConfigMap\ndata: {values.yaml: \"a: 1\\nb: 3\\n\"}", Configured, []string{`data["values.yaml"]|b: 2 → 3`}, nil, 0},
		"JSON in a text":      {"kind: ConfigMap\ndata: {a.json: '{\"a\": 1}'}", "kind: ConfigMap\ndata: {a.json: '{\"a\": 2}'}", Configured, []string{`data["a.json"]|a: 1 → 2`}, nil, 0},
		"a Secret":            {"kind: Secret\ntype: a\ndata: {x: a, w: b}", "kind: Secret\ntype: b\ndata: {x: c, z: d}", Configured, []string{"data.w: *** → ", "data.x: *** → *** (changed)", "data.z:  → ***", "type: a → b"}, []Flag{Secret}, 0},
		"a new Secret":        {"", "kind: Secret\ntype: a\nstringData: {x: a}", Created, []string{": → kind: Secret\nstringData:\n  x: '***'\ntype: a"}, []Flag{Secret}, 0},
		"a version less":      {"kind: CustomResourceDefinition\nspec: {versions: [{name: v1}, {name: v1beta1}]}", "kind: CustomResourceDefinition\nspec: {versions: [{name: v1}]}", Configured, []string{"spec.versions[name=v1beta1]: name: v1beta1 → "}, []Flag{CRD}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := Pair{Before: object(t, tc.before), After: object(t, tc.after)}
			if p.Object.Kind = "A"; p.Before != nil {
				p.Object.Kind = p.Before["kind"].(string)
			} else {
				p.Object.Kind = p.After["kind"].(string)
			}
			o := Compare(p, rules(t))
			var got []string
			for _, l := range lines(o) {
				got = append(got, strings.Replace(l, ":  → kind", ": → kind", 1))
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tc.flags, o.Flags); d != "" {
				t.Errorf("flags: %s", d)
			}
			if o.Verdict != tc.verdict || o.Folded != tc.folded {
				t.Errorf("%s, %d folded; want %s, %d", o.Verdict, o.Folded, tc.verdict, tc.folded)
			}
		})
	}
}

func TestRemovedVersionsAreTold(t *testing.T) {
	o := Compare(Pair{Object: gitops.Object{Kind: "CustomResourceDefinition"}, Before: object(t, "spec: {versions: [{name: v1}, {name: v1beta1}]}"), After: object(t, "spec: {versions: [{name: v1}, {name: v1beta1, served: false}]}")}, nil)
	if o.Reason != "It no longer serves v1beta1." {
		t.Errorf("it says %q", o.Reason)
	}
}

func TestRulesNeedAPath(t *testing.T) {
	for _, path := range []string{"", "*", "**", ".*"} {
		if _, err := Compile([]Rule{{Path: path}}); err == nil {
			t.Errorf("%q is taken", path)
		}
	}
}

func TestRulesNameObjects(t *testing.T) {
	all, err := Compile([]Rule{{Kind: "Deploy*", Namespace: "shop", Name: "*-web", Path: "spec.replicas"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		object gitops.Object
		path   string
		want   bool
	}{
		"it":                {gitops.Object{Kind: "Deployment", Namespace: "shop", Name: "a-web"}, "spec.replicas", true},
		"below":             {gitops.Object{Kind: "Deployment", Namespace: "shop", Name: "a-web"}, "spec.replicas.x", true},
		"a longer name":     {gitops.Object{Kind: "Deployment", Namespace: "shop", Name: "a-web"}, "spec.replicasMax", false},
		"another kind":      {gitops.Object{Kind: "StatefulSet", Namespace: "shop", Name: "a-web"}, "spec.replicas", false},
		"another namespace": {gitops.Object{Kind: "Deployment", Namespace: "shop2", Name: "a-web"}, "spec.replicas", false},
		"another name":      {gitops.Object{Kind: "Deployment", Namespace: "shop", Name: "a-web2"}, "spec.replicas", false},
	} {
		if got := all.match(tc.object, tc.path); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
