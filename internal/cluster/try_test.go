package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/render"
	"github.com/ferry-chatops/ferry/internal/testenv"
)

// TestOnAPIServer asks a real API server, since nothing else knows what a dry run does.
func TestOnAPIServer(t *testing.T) {
	env := testenv.Need(t, testenv.Options{Clusters: []string{"prod"}})
	s := &apiServer{Cluster: env.Clusters["prod"]}
	s.fleet = newFleet(t, s.kubeconfig(t, ""), Environment{Name: "prod"})
	s.apply(t, kustomizeManager, "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n"+widgets)
	s.await(t, widget("probe", "{}"))

	t.Run("applied", s.testApplied)
	t.Run("created", s.testCreated)
	t.Run("left alone", s.testSkipped)
	t.Run("fields that kubectl left", s.testKubectl)
	t.Run("cannot be changed", s.testImmutable)
	t.Run("refused without a value", s.testWorded)
	t.Run("without the right", s.testRights)
	t.Run("not there yet", s.testNotYet)
	t.Run("patched by Helm", s.testHelm)
	t.Run("few requests", s.testRequests)
	t.Run("kept", s.testKept)
	t.Run("kept by two at once", s.testKeptTwice)
	t.Run("kept without the right", s.testKeptRights)
	t.Run("unreachable", s.testUnreachable)
}

// widgets is a custom resource: a list with keys, a list without, and a rule that a field stays as it is.
const widgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.shop.example}
spec:
  group: shop.example
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              size: {type: integer, default: 3}
              fixed: {type: string, x-kubernetes-validations: [{rule: self == oldSelf, message: Value is immutable}]}
              token: {type: string, maxLength: 5}
              parts: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object, required: [name], properties: {name: {type: string}, count: {type: integer}}}}
              tags: {type: array, items: {type: string}}
`

// apiServer is a cluster whose environment is prod.
type apiServer struct {
	*testenv.Cluster
	fleet *Fleet
}

// kubeconfig is that of the cluster's administrator, or of somebody in a group alone.
func (s *apiServer) kubeconfig(t *testing.T, group string) []byte {
	t.Helper()
	config, err := clientcmd.LoadFromFile(s.KubeconfigFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range config.AuthInfos {
		if group != "" {
			user.Impersonate, user.ImpersonateGroups = "somebody", []string{group}
		}
	}
	raw, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// apply writes objects as a field manager, server-side.
func (s *apiServer) apply(t *testing.T, manager, manifest string) {
	t.Helper()
	for _, o := range objects(t, manifest) {
		u := &unstructured.Unstructured{Object: o.Fields}
		if err := s.Client().Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(manager), client.ForceOwnership); err != nil {
			t.Fatal(err)
		}
	}
}

// merge changes an object as a field manager, as kubectl patch would.
func (s *apiServer) merge(t *testing.T, manager, manifest, patch string) {
	t.Helper()
	u := &unstructured.Unstructured{Object: objects(t, manifest)[0].Fields}
	if err := s.Client().Patch(t.Context(), u, client.RawPatch("application/merge-patch+json", []byte(patch)), client.FieldOwner(manager)); err != nil {
		t.Fatal(err)
	}
}

// await waits until a kind is served.
func (s *apiServer) await(t *testing.T, manifest string) {
	t.Helper()
	s.until(t, func() error {
		return s.Client().Create(t.Context(), &unstructured.Unstructured{Object: objects(t, manifest)[0].Fields}, client.DryRunAll)
	})
}

// until waits for what the API server takes note of a little later.
func (s *apiServer) until(t *testing.T, done func() error) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) { return done() == nil, nil })
	if err != nil {
		t.Fatal(errors.Join(err, done()))
	}
}

// objects decodes a manifest.
func objects(t *testing.T, manifest string) (all []render.Object) {
	t.Helper()
	for document := range strings.SplitSeq(manifest, "\n---\n") {
		fields := map[string]any{}
		if err := yaml.Unmarshal([]byte(document), &fields); err != nil {
			t.Fatal(err)
		}
		u := unstructured.Unstructured{Object: fields}
		all = append(all, render.Object{Object: gitops.Object{Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}, Fields: fields})
	}
	return all
}

// try asks for one trial of a manifest, which must work out.
func (s *apiServer) try(t *testing.T, manifest string) operation.Tried {
	t.Helper()
	got := s.trial(t, s.fleet, operation.Trial{Way: operation.Applied, Object: objects(t, manifest)[0]})
	if got.Err != nil || got.Without != "" || got.Immutable {
		t.Fatalf("%v %q immutable %t", got.Err, got.Without, got.Immutable)
	}
	return got
}

func (s *apiServer) trial(t *testing.T, fleet *Fleet, trial operation.Trial) operation.Tried {
	t.Helper()
	tried, err := fleet.Try(t.Context(), "prod", []operation.Trial{trial})
	if err != nil {
		t.Fatal(err)
	}
	return tried[0]
}

// changes says what differs, as "path: before → after" in JSON, sorted.
func changes(before, after map[string]any) (all []string) {
	text := func(v any) string {
		raw, err := json.Marshal(v)
		if v == nil || err != nil {
			return "-"
		}
		return string(raw)
	}
	var compare func(path string, a, b any)
	compare = func(path string, a, b any) {
		am, aok := a.(map[string]any)
		bm, bok := b.(map[string]any)
		al, alok := a.([]any)
		bl, blok := b.([]any)
		switch {
		case aok && bok:
			for k := range am {
				compare(path+"."+k, am[k], bm[k])
			}
			for k := range bm {
				if _, ok := am[k]; !ok {
					compare(path+"."+k, nil, bm[k])
				}
			}
		case alok && blok && len(al) == len(bl):
			for i := range al {
				compare(fmt.Sprintf("%s[%d]", path, i), al[i], bl[i])
			}
		case !cmp.Equal(a, b):
			all = append(all, strings.TrimPrefix(path, ".")+": "+text(a)+" → "+text(b))
		}
	}
	compare("", before, after)
	slices.Sort(all)
	return all
}

func wants(t *testing.T, got operation.Tried, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, changes(got.Live, got.After)); diff != "" {
		t.Errorf("%s%v %s", diff, got.Err, got.Without)
	}
}

const owned = "{kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system}"

func deploy(name, image, more string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: shop, labels: %[4]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers:
      - {name: web, image: %[2]q, ports: [{containerPort: 80}]%[3]s}
`, name, image, more, owned)
}

func widget(name, spec string) string {
	return fmt.Sprintf("apiVersion: shop.example/v1\nkind: Widget\nmetadata: {name: %s, namespace: shop, labels: %s}\nspec: %s\n", name, owned, spec)
}

func secret(name, data string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: shop, labels: %s}\n%s\n", name, owned, data)
}

func (s *apiServer) testApplied(t *testing.T) {
	for name, c := range map[string]struct {
		before, after string
		want          []string
	}{
		"an image": {deploy("image", "web:1", ""), deploy("image", "web:2", ""), []string{`spec.template.spec.containers[0].image: "web:1" → "web:2"`}},
		"nothing":  {deploy("nothing", "web:1", ""), deploy("nothing", "web:1", ""), nil},
		"a field and an item go": {
			deploy("less", "web:1", ", env: [{name: A, value: a}, {name: B, value: b}]") + "  replicas: 3\n",
			deploy("less", "web:1", ", env: [{name: B, value: b}]"),
			[]string{`spec.replicas: 3 → 1`, `spec.template.spec.containers[0].env: [{"name":"A","value":"a"},{"name":"B","value":"b"}] → [{"name":"B","value":"b"}]`},
		},
		"a custom resource": {
			widget("custom", "{parts: [{name: a, count: 1}, {name: b}], tags: [a, b]}"), widget("custom", "{size: 4, parts: [{name: a, count: 2}], tags: [b]}"),
			[]string{`spec.parts: [{"count":1,"name":"a"},{"name":"b"}] → [{"count":2,"name":"a"}]`, `spec.size: 3 → 4`, `spec.tags: ["a","b"] → ["b"]`},
		},
		"a label": {
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: label, namespace: shop, labels: {a: b}}\ndata: {k: v}\n",
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: label, namespace: shop, labels: {a: c}, annotations: {note: x}}\ndata: {k: v}\n",
			[]string{`metadata.annotations: - → {"note":"x"}`, `metadata.labels.a: "b" → "c"`},
		},
		"a Secret's stringData":               {secret("text", "data: {a: b25l}"), secret("text", "stringData: {a: two}"), []string{`data.a: "b25l" → "dHdv"`}},
		"a field that the kind does not have": {deploy("typo", "web:1", ""), deploy("typo", "web:1", ", imagePolicy: Never"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s.apply(t, kustomizeManager, c.before)
			got := s.try(t, c.after)
			wants(t, got, c.want...)
			for _, side := range []map[string]any{got.Live, got.After} {
				metadata := side["metadata"].(map[string]any)
				for _, key := range []string{"managedFields", "uid", "resourceVersion", "generation", "creationTimestamp"} {
					if _, ok := metadata[key]; ok {
						t.Errorf("metadata.%s is there", key)
					}
				}
				if _, ok := side["status"]; ok {
					t.Error("status is there")
				}
			}
		})
	}
}

func (s *apiServer) testCreated(t *testing.T) {
	got := s.try(t, "apiVersion: v1\nkind: Service\nmetadata: {name: new, namespace: shop}\nspec: {type: NodePort, selector: {app: new}, ports: [{port: 80}]}\n")
	wants(t, got, `apiVersion: - → "v1"`, `kind: - → "Service"`, `metadata: - → {"name":"new","namespace":"shop"}`, `spec: - → {"externalTrafficPolicy":"Cluster","internalTrafficPolicy":"Cluster","ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","ports":[{"port":80,"protocol":"TCP","targetPort":80}],"selector":{"app":"new"},"sessionAffinity":"None","type":"NodePort"}`)
	job := s.try(t, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: new, namespace: shop}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}}\n")
	if raw := fmt.Sprint(job.After); strings.Contains(raw, "controller-uid") || !strings.Contains(raw, "job-name:new") {
		t.Error(raw)
	}
	if found := s.trial(t, s.fleet, operation.Trial{Way: operation.Looked, Object: objects(t, deploy("nobody", "a", ""))[0]}); found.Live != nil || found.After != nil || found.Err != nil {
		t.Errorf("%+v", found)
	}
}

func (s *apiServer) testSkipped(t *testing.T) {
	configMap := func(name, annotation, value string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: shop, annotations: {%s}}\ndata: {k: %s}\n", name, annotation, value)
	}
	for i, c := range []struct {
		live, git string
		left      bool
	}{
		{"", "kustomize.toolkit.fluxcd.io/reconcile: disabled", true},
		{"kustomize.toolkit.fluxcd.io/reconcile: Disabled", "", true},
		{"kustomize.toolkit.fluxcd.io/ssa: ignore", "", true},
		{"", "kustomize.toolkit.fluxcd.io/ssa: IfNotPresent", true},
		{"kustomize.toolkit.fluxcd.io/ssa: IfNotPresent", "", false}, // only Git's counts
	} {
		name := fmt.Sprintf("skipped-%d", i)
		s.apply(t, "somebody", configMap(name, c.live, "a"))
		got := s.try(t, configMap(name, c.git, "b"))
		if changed := len(changes(got.Live, got.After)) > 0; changed == c.left {
			t.Errorf("%+v: changed: %t", c, changed)
		}
	}
	got := s.try(t, configMap("skipped-new", "kustomize.toolkit.fluxcd.io/ssa: IfNotPresent", "b"))
	if got.After == nil {
		t.Errorf("%+v", got)
	}
}

// testKubectl: kustomize-controller takes the fields of kubectl for its own, but not those of others, after its dry run.
func (s *apiServer) testKubectl(t *testing.T) {
	s.apply(t, kustomizeManager, deploy("kubectl", "web:1", ""))
	s.merge(t, "kubectl-edit", deploy("kubectl", "web:1", ""), `{"metadata": {"annotations": {"by": "hand", "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
		"spec": {"replicas": 3, "minReadySeconds": 7, "template": {"spec": {"terminationGracePeriodSeconds": 5, "nodeSelector": {"a": "b"}}}}}`)
	s.merge(t, "autoscaler", deploy("kubectl", "web:1", ""), `{"spec": {"revisionHistoryLimit": 4}}`)
	s.apply(t, "autoscaler", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: kubectl, namespace: shop}\nspec: {replicas: 3}\n")
	got := s.try(t, deploy("kubectl", "web:2", ""))
	wants(t, got,
		`metadata.annotations: {"by":"hand","kubectl.kubernetes.io/last-applied-configuration":"{}"} → -`,
		`spec.minReadySeconds: 7 → -`, `spec.template.spec.containers[0].image: "web:1" → "web:2"`, `spec.template.spec.nodeSelector: {"a":"b"} → -`,
		`spec.template.spec.terminationGracePeriodSeconds: 5 → 30`)

	merge := strings.Replace(deploy("kubectl", "web:2", ""), "namespace: shop,", "namespace: shop, annotations: {kustomize.toolkit.fluxcd.io/ssa: merge},", 1)
	wants(t, s.try(t, merge), `metadata.annotations.kustomize.toolkit.fluxcd.io/ssa: - → "merge"`, `spec.template.spec.containers[0].image: "web:1" → "web:2"`)
}

func (s *apiServer) testImmutable(t *testing.T) {
	selector := func(name, app string) string {
		return strings.ReplaceAll(deploy(name, "web:1", ""), "app: "+name, "app: "+app)
	}
	pvc := func(class string) string {
		return "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: shop}\nspec: {storageClassName: " + class + ", accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n"
	}
	set := func(service string) string {
		return strings.NewReplacer("kind: Deployment", "kind: StatefulSet", "  selector:", "  serviceName: "+service+"\n  selector:").Replace(deploy("set", "web:1", ""))
	}
	binding := func(role string) string {
		return "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: b, namespace: shop}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: " + role + "}\n"
	}
	job := func(name, image string) string {
		return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: " + name + ", namespace: shop}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: " + image + "}]}}}\n"
	}
	service := func(ip string) string {
		return "apiVersion: v1\nkind: Service\nmetadata: {name: ip, namespace: shop}\nspec: {clusterIP: " + ip + ", ports: [{port: 80}]}\n"
	}
	for name, c := range map[string]struct{ before, after, want string }{
		"a selector":     {selector("selector", "one"), selector("selector", "two"), "spec.selector cannot be changed"},
		"a claim":        {pvc("fast"), pvc("slow"), "spec cannot be changed"},
		"a StatefulSet":  {set("one"), set("two"), "spec cannot be changed"},
		"a role":         {binding("one"), binding("two"), "roleRef cannot be changed"},
		"a Job":          {job("one", "a:1"), job("one", "a:2"), "spec.template cannot be changed"},
		"an address":     {service("10.96.0.50"), service("10.96.0.51"), "spec.clusterIPs[0] cannot be changed"},
		"a custom field": {widget("fixed", "{fixed: one}"), widget("fixed", "{fixed: two}"), "spec.fixed cannot be changed"},
	} {
		t.Run(name, func(t *testing.T) {
			s.apply(t, kustomizeManager, c.before)
			after := objects(t, c.after)[0]
			got := s.trial(t, s.fleet, operation.Trial{Way: operation.Applied, Object: after})
			if got.Err == nil || !strings.Contains(got.Err.Error(), c.want) || !got.Immutable || got.Replaced {
				t.Errorf("immutable %t: %v", got.Immutable, got.Err)
			}
			got = s.trial(t, s.fleet, operation.Trial{Way: operation.Applied, Object: after, Force: true})
			if got.Err != nil || got.Immutable || !got.Replaced || len(changes(got.Live, got.After)) == 0 || strings.Contains(fmt.Sprint(got.After), "as-new") {
				t.Errorf("%+v", got)
			}
		})
	}
	t.Run("marked", func(t *testing.T) {
		s.apply(t, kustomizeManager, job("marked", "a:1"))
		forced := strings.Replace(job("marked", "a:2"), "namespace: shop", "namespace: shop, annotations: {kustomize.toolkit.fluxcd.io/force: Enabled}", 1)
		got := s.try(t, forced)
		if !got.Replaced {
			t.Error("it is not replaced")
		}
		for _, change := range changes(got.Live, got.After) {
			if !strings.Contains(change, "image") && !strings.Contains(change, "annotations") {
				t.Error(change)
			}
		}
	})
	t.Run("forced, and not valid either", func(t *testing.T) {
		s.apply(t, kustomizeManager, job("broken", "a:1"))
		got := s.trial(t, s.fleet, operation.Trial{Way: operation.Applied, Force: true, Object: objects(t, strings.Replace(job("broken", "a:2"), "Never", "Always", 1))[0]})
		if got.Err == nil || !got.Replaced {
			t.Errorf("%+v", got)
		}
	})
}

// testWorded: what the API server quotes may be secret.
func (s *apiServer) testWorded(t *testing.T) {
	const hidden = "hunter2secret"
	s.apply(t, kustomizeManager, `apiVersion: v1
kind: Namespace
metadata: {name: strict, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: none, namespace: strict}
spec: {hard: {count/configmaps: "0"}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-names}
spec:
  failurePolicy: Fail
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [secrets]}]}
  validations: [{expression: "!('forbidden' in object.data)", messageExpression: "'not ' + string(object.data.forbidden)"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-names}
spec: {policyName: no-names, validationActions: [Deny]}`)
	s.until(t, func() error { // the policy counts a little later
		u := &unstructured.Unstructured{Object: objects(t, secret("w", "stringData: {forbidden: a}"))[0].Fields}
		if err := s.Client().Create(t.Context(), u, client.DryRunAll); err == nil {
			return errors.New("the policy lets it pass")
		}
		return nil
	})
	for name, c := range map[string]struct{ manifest, want string }{
		"a wrong value":            {widget("w", "{token: "+hidden+"}"), "spec.token is too long"},
		"a wrong type":             {widget("w", "{size: "+hidden+"}"), "spec.size has the wrong type"},
		"an unknown field":         {widget("w", "{colour: "+hidden+"}"), "spec.colour is not a field of this kind"},
		"an entry twice":           {widget("w", "{parts: [{name: "+hidden+"}, {name: "+hidden+"}]}"), "spec.parts has an entry twice"},
		"an image policy":          {deploy("w", "a", ", imagePullPolicy: "+hidden), "imagePullPolicy has a value that is not supported"},
		"a name":                   {deploy("w", "a", ", env: [{name: \""+hidden+" \", value: x}, {name: \""+hidden+"=\"}]"), "env[1].name is not valid"},
		"a quantity":               {deploy("w", "a", ", resources: {limits: {cpu: "+hidden+"}}"), "a quantity is not valid"},
		"no base64":                {secret("w", "data: {a: "+hidden+"!}"), "a value is not base64"},
		"a policy":                 {secret("w", "stringData: {forbidden: "+hidden+"}"), "the admission policy no-names refuses it"},
		"a quota":                  {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: w, namespace: strict}\ndata: {a: " + hidden + "}\n", "exceeds a quota"},
		"a pod without confidence": {"apiVersion: v1\nkind: Pod\nmetadata: {name: w, namespace: strict}\nspec: {containers: [{name: a, image: b, securityContext: {privileged: true}, env: [{name: a, value: " + hidden + "}]}]}\n", "pod security level forbids it"},
		"no namespace":             {strings.Replace(deploy("w", hidden, ""), "namespace: shop, ", "", 1), "it has no namespace"},
		"no name":                  {strings.Replace(deploy("w", hidden, ""), "name: w, ", "", 1), "it has no apiVersion, kind or name"},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.trial(t, s.fleet, operation.Trial{Way: operation.Applied, Object: objects(t, c.manifest)[0]})
			if got.Err == nil || !strings.Contains(got.Err.Error(), c.want) || got.Immutable {
				t.Errorf("%v, want %q", got.Err, c.want)
			}
			if strings.Contains(fmt.Sprint(got.Err), hidden) {
				t.Errorf("%v holds the value", got.Err)
			}
		})
	}
}

// as is a fleet of somebody who has these rules in namespace shop.
func (s *apiServer) as(t *testing.T, group string, rules ...rbacv1.PolicyRule) *Fleet {
	t.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: group}, Rules: rules}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: group}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: group},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: group}},
	}
	for _, o := range []client.Object{role, binding} {
		if err := s.Client().Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	fleet := newFleet(t, s.kubeconfig(t, group), Environment{Name: "prod"})
	want := operation.Trial{Way: operation.Looked, Object: objects(t, deploy("awaited", "a", ""))[0]}
	if len(rules) > 0 {
		s.until(t, func() error { return s.trial(t, fleet, want).Err })
	}
	return fleet
}

func (s *apiServer) testRights(t *testing.T) {
	read := rbacv1.PolicyRule{APIGroups: []string{"", "apps", "shop.example"}, Resources: []string{"deployments", "configmaps", "widgets"}, Verbs: []string{"get"}}
	reader := s.as(t, "readers", read)
	live := deploy("rights", "web:1", ", env: [{name: A, value: a}, {name: B, value: b}]") + "  replicas: 3\n"
	s.apply(t, kustomizeManager, live)
	s.merge(t, "autoscaler", live, `{"spec": {"revisionHistoryLimit": 4}}`)
	s.apply(t, kustomizeManager, widget("rights", "{parts: [{name: a, count: 1}], tags: [x]}"))
	for range fewest { // get is enough, though there are several
		s.apply(t, kustomizeManager, deploy("rights", "web:1", ", env: [{name: A, value: a}, {name: B, value: b}]")+"  replicas: 3\n")
	}
	applied := func(manifest string) operation.Trial {
		return operation.Trial{Way: operation.Applied, Object: objects(t, manifest)[0]}
	}
	got := s.trial(t, reader, applied(deploy("rights", "web:2", ", env: [{name: B, value: c}]")))
	wants(t, got, `spec.replicas: 3 → -`, `spec.template.spec.containers[0].env: [{"name":"A","value":"a"},{"name":"B","value":"b"}] → [{"name":"B","value":"c"}]`,
		`spec.template.spec.containers[0].image: "web:1" → "web:2"`)
	if want := "ferry may not patch deployments in namespace shop (prod), so there was no dry run."; got.Without != want || got.Err != nil {
		t.Errorf("%q, %v", got.Without, got.Err)
	}
	wants(t, s.trial(t, reader, applied(widget("rights", "{parts: [{name: a}], tags: [b]}"))), `spec.parts[0].count: 1 → -`, `spec.tags[0]: "x" → "b"`)
	if got := s.trial(t, reader, applied(deploy("rights-new", "web:2", ""))); got.Live != nil || got.After == nil || !strings.Contains(got.Without, "may not patch") {
		t.Errorf("%+v", got)
	}
	patched := operation.Trial{Way: operation.Patched, Object: objects(t, deploy("rights", "web:2", ", env: [{name: B, value: b}]")+"  replicas: 3\n")[0], Base: objects(t, live)[0].Fields}
	got = s.trial(t, reader, patched)
	wants(t, got, `spec.template.spec.containers[0].env: [{"name":"A","value":"a"},{"name":"B","value":"b"}] → [{"name":"B","value":"b"}]`, `spec.template.spec.containers[0].image: "web:1" → "web:2"`)
	if got.Without == "" {
		t.Error("nothing says that there was no dry run")
	}
	got = s.trial(t, reader, applied(secret("rights", "stringData: {a: b}")))
	if refused(t, got.Err, gitops.Denied); got.After != nil {
		t.Errorf("%+v", got)
	}
	several := slices.Repeat([]operation.Trial{{Way: operation.Looked, Object: objects(t, live)[0]}}, 1)
	for i := range 2 * fewest {
		several = append(several, operation.Trial{Way: operation.Looked, Object: objects(t, deploy(fmt.Sprintf("nobody-%d", i), "a", ""))[0]})
	}
	tried, err := reader.Try(t.Context(), "prod", several)
	if err != nil || tried[0].Live == nil || tried[1].Live != nil || tried[1].Err != nil {
		t.Errorf("%v, %+v", err, tried)
	}
}

func (s *apiServer) testNotYet(t *testing.T) {
	elsewhere := strings.ReplaceAll(deploy("a", "b", ""), "namespace: shop", "namespace: tomorrow")
	for _, way := range []operation.Way{operation.Applied, operation.Patched} {
		got := s.trial(t, s.fleet, operation.Trial{Way: way, Object: objects(t, elsewhere)[0]})
		if got.Err != nil || got.Live != nil || got.After == nil || got.Without != "Namespace tomorrow does not exist yet, so there was no dry run." {
			t.Errorf("%s: %+v", way, got)
		}
	}
	kind := strings.ReplaceAll(widget("a", "{size: 1}"), "Widget", "Gadget")
	got := s.trial(t, s.fleet, operation.Trial{Way: operation.Applied, Object: objects(t, kind)[0]})
	if got.Err != nil || got.Live != nil || got.After == nil || got.Without != "prod does not serve the kind Gadget of shop.example/v1, so there was no dry run." {
		t.Errorf("%+v", got)
	}
	s.apply(t, kustomizeManager, strings.NewReplacer("widget", "gadget", "Widget", "Gadget").Replace(widgets))
	s.await(t, kind)
	now := time.Now().Add(2 * maxMissed) // it is looked for again, but not by each
	s.fleet.now = func() time.Time { return now }
	for _, a := range s.fleet.clients {
		a.api.now = s.fleet.now
	}
	if got := s.try(t, kind); got.After == nil {
		t.Errorf("%+v", got)
	}
}

func (s *apiServer) testHelm(t *testing.T) {
	release := func(manifest string) string {
		return strings.Replace(manifest, "metadata: {", "metadata: {annotations: {meta.helm.sh/release-name: r, meta.helm.sh/release-namespace: shop}, ", 1)
	}
	helm := func(manifest string) string {
		return strings.Replace(release(manifest), "labels: {", "labels: {app.kubernetes.io/managed-by: Helm, ", 1)
	}
	trial := func(base, head string) operation.Trial {
		trial := operation.Trial{Way: operation.Patched, Object: objects(t, helm(head))[0]}
		if base != "" {
			trial.Base = objects(t, base)[0].Fields
		}
		return trial
	}
	t.Run("three sides", func(t *testing.T) {
		base := deploy("helm", "web:1", ", env: [{name: A, value: a}, {name: B, value: b}]") + "  replicas: 3\n"
		s.apply(t, helmManager, helm(base))
		s.merge(t, "somebody", base, `{"metadata": {"annotations": {"by": "hand"}}, "spec": {"replicas": 5, "minReadySeconds": 7}}`)
		got := s.trial(t, s.fleet, trial(base, deploy("helm", "web:2", ", env: [{name: B, value: b}]")+"  replicas: 3\n"))
		wants(t, got, `spec.replicas: 5 → 3`, `spec.template.spec.containers[0].env: [{"name":"A","value":"a"},{"name":"B","value":"b"}] → [{"name":"B","value":"b"}]`,
			`spec.template.spec.containers[0].image: "web:1" → "web:2"`)
		got = s.trial(t, s.fleet, trial(base, deploy("helm", "web:1", "")))
		wants(t, got, `spec.replicas: 5 → 1`, `spec.template.spec.containers[0].env: [{"name":"A","value":"a"},{"name":"B","value":"b"}] → -`)
		got = s.trial(t, s.fleet, operation.Trial{Way: operation.Patched, Force: true, Base: objects(t, base)[0].Fields, Object: objects(t, helm(base))[0]})
		wants(t, got, `metadata.annotations.by: "hand" → -`, `spec.minReadySeconds: 7 → -`, `spec.replicas: 5 → 3`)
		got = s.trial(t, s.fleet, trial(base, strings.ReplaceAll(base, "app: helm", "app: other")))
		if got.Err == nil || !got.Immutable {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a custom resource: what is live does not count", func(t *testing.T) {
		base := widget("helm", "{size: 4, parts: [{name: a}], tags: [x]}")
		s.apply(t, helmManager, helm(base))
		s.merge(t, "somebody", base, `{"spec": {"size": 9, "token": "t"}}`)
		got := s.trial(t, s.fleet, trial(helm(base), widget("helm", "{size: 4, parts: [{name: b}]}")))
		wants(t, got, `spec.parts[0].name: "a" → "b"`, `spec.tags: ["x"] → -`)
		wants(t, s.trial(t, s.fleet, trial(helm(base), base)))
	})
	t.Run("created", func(t *testing.T) {
		got := s.trial(t, s.fleet, trial("", deploy("helm-new", "web:1", "")))
		if got.Live != nil || got.After == nil || got.Err != nil || got.Without != "" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("of somebody else", func(t *testing.T) {
		foreign := deploy("foreign", "web:1", "")
		s.apply(t, "somebody", foreign)
		if got := s.trial(t, s.fleet, trial("", foreign)); got.Err == nil || got.After != nil {
			t.Errorf("%+v", got)
		}
		s.apply(t, "somebody", helm(foreign))
		wants(t, s.trial(t, s.fleet, trial("", deploy("foreign", "web:2", ""))), `spec.template.spec.containers[0].image: "web:1" → "web:2"`)
	})
}

// testRequests: what is looked at in numbers comes from lists.
func (s *apiServer) testRequests(t *testing.T) {
	counter, err := s.Count()
	if err != nil {
		t.Fatal(err)
	}
	defer counter.Close()
	home, err := os.ReadFile(counter.KubeconfigFile)
	if err != nil {
		t.Fatal(err)
	}
	fleet := newFleet(t, home, Environment{Name: "prod"})
	var trials []operation.Trial
	for i := range 300 {
		namespace := fmt.Sprintf("many-%d", i%10)
		manifest := fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c-%d, namespace: %s, labels: %s}\ndata: {k: v}\n", i, namespace, owned)
		if i < 10 {
			s.apply(t, kustomizeManager, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+namespace+"}\n")
		}
		s.apply(t, kustomizeManager, manifest)
		trial := operation.Trial{Way: operation.Looked, Object: objects(t, manifest)[0]}
		if i < 10 {
			trial = operation.Trial{Way: operation.Applied, Object: objects(t, strings.Replace(manifest, "k: v", "k: w", 1))[0]}
		}
		trials = append(trials, trial)
	}
	tried, err := fleet.Try(t.Context(), "prod", trials)
	if err != nil {
		t.Fatal(err)
	}
	for i, one := range tried {
		if one.Live == nil || (one.After != nil) != (i < 10) {
			t.Fatalf("%d: %+v", i, one)
		}
	}
	all, dry := counter.Requests()
	t.Logf("300 objects, 10 of them changed: %d requests, %d of them dry runs", all, dry)
	if discovery := int64(5); all > discovery+10+1 || dry != 10 {
		t.Error("that is more than the kinds, one list and the dry runs")
	}
	begin := time.Now()
	for i := range trials {
		trials[i].Way = operation.Applied
	}
	if _, err := fleet.Try(t.Context(), "prod", trials); err != nil {
		t.Fatal(err)
	}
	t.Logf("300 dry runs take %s", time.Since(begin).Round(time.Millisecond))
}

// testUnreachable comes last.
func (s *apiServer) testUnreachable(t *testing.T) {
	s.Kill()
	trials := []operation.Trial{{Way: operation.Applied, Object: objects(t, deploy("a", "b", ""))[0]}}
	_, err := s.fleet.Try(t.Context(), "prod", trials)
	refused(t, err, gitops.Unreachable)
}
