package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/report"
)

// keptIn are the names of the ConfigMaps in a namespace, but for the one that every namespace has.
func (s *apiServer) keptIn(t *testing.T, namespace string) map[string]corev1.ConfigMap {
	t.Helper()
	var all corev1.ConfigMapList
	if err := s.Client().List(t.Context(), &all, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	byName := map[string]corev1.ConfigMap{}
	for _, m := range all.Items {
		if m.Name != "kube-root-ca.crt" {
			byName[m.Name] = m
		}
	}
	return byName
}

// testKept: reports come back as they were, the newest of them stay, and nothing else is touched.
func (s *apiServer) testKept(t *testing.T) {
	s.apply(t, kustomizeManager, "apiVersion: v1\nkind: Namespace\nmetadata: {name: chatops}")
	kept := s.fleet.Kept("chatops")
	load := func(key string) []byte {
		t.Helper()
		document, err := kept.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return document
	}
	save := func(key string, document []byte) {
		t.Helper()
		if err := kept.Save(t.Context(), key, document); err != nil {
			t.Fatal(err)
		}
	}
	if got := load("00"); got != nil {
		t.Errorf("nothing was kept, and there is %q", got)
	}
	largest := bytes.Repeat([]byte{0, 0xff}, report.MaxKept/2)
	save("00", largest)
	if !bytes.Equal(load("00"), largest) {
		t.Error("the largest document is not what was kept")
	}
	save("00", []byte("again"))
	if got := load("00"); string(got) != "again" {
		t.Errorf("written over: %q", got)
	}

	others := `apiVersion: v1
kind: ConfigMap
metadata: {name: ferry-report-somebodys, namespace: chatops}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: ferry-pulls-report, namespace: chatops, labels: {app.kubernetes.io/managed-by: ferry, ferry.dev/state: report}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: team-notes, namespace: chatops, labels: {app.kubernetes.io/managed-by: ferry, ferry.dev/state: review}}
`
	s.apply(t, kustomizeManager, others)
	for i := 1; i <= mostKept+1; i++ {
		save(fmt.Sprintf("%02x", i), []byte{byte(i)})
		if i == mostKept-1 {
			save("00", []byte("renewed")) // the newest now, though it was the first
		}
	}
	there := s.keptIn(t, "chatops")
	for _, name := range []string{"ferry-report-somebodys", "ferry-pulls-report", "team-notes"} {
		if _, ok := there[name]; !ok {
			t.Errorf("%s was removed", name)
		}
		delete(there, name)
	}
	if len(there) != mostKept || string(load("00")) != "renewed" || load("01") != nil || load("02") != nil || string(load("03")) != "\x03" {
		t.Errorf("%d are left; the first %q, the oldest %q and %q, the third %q", len(there), load("00"), load("01"), load("02"), load("03"))
	}

	for name, m := range map[string]corev1.ConfigMap{ // what somebody else made of one
		"no document": {Data: map[string]string{keptKey: "text"}},
		"no gzip":     {BinaryData: map[string][]byte{keptKey: []byte("<html>")}},
		"cut off":     {BinaryData: map[string][]byte{keptKey: {0x1f, 0x8b, 8, 0}}},
		"half of one": {BinaryData: map[string][]byte{keptKey: packed(t)[:20]}},
	} {
		m.ObjectMeta = metav1.ObjectMeta{Namespace: "chatops", Name: keptPrefix + "ff"}
		if err := s.Client().Delete(t.Context(), &m); client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		if err := s.Client().Create(t.Context(), &m); err != nil {
			t.Fatal(err)
		}
		document := load("ff")
		if _, err := report.Decode(document); document != nil && err == nil {
			t.Errorf("%s: %q is a report", name, document)
		}
		save("ff", packed(t))
		if _, err := report.Decode(load("ff")); err != nil {
			t.Errorf("%s: not mended: %v", name, err)
		}
	}

	if err := s.fleet.Kept("tomorrow").Save(t.Context(), "00", nil); err == nil || !strings.Contains(err.Error(), "tomorrow") {
		t.Errorf("a namespace that is not there: %v", err)
	}
}

// packed is a report as it is kept.
func packed(t *testing.T) []byte {
	t.Helper()
	raw, err := report.Encode(report.Report{Repository: "acme/fleet", Number: 7})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// testKeptTwice: of two that write one at once the first wins, and neither fails.
func (s *apiServer) testKeptTwice(t *testing.T) {
	s.apply(t, kustomizeManager, "apiVersion: v1\nkind: Namespace\nmetadata: {name: twice}")
	key := client.ObjectKey{Namespace: "twice", Name: keptPrefix + "00"}
	for name, between := range map[string]func(context.Context) error{
		"written": func(ctx context.Context) error {
			m := corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, BinaryData: map[string][]byte{keptKey: []byte("first")}}
			return s.Client().Update(ctx, &m)
		},
		"removed": func(ctx context.Context) error {
			return s.Client().Delete(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}})
		},
	} {
		home, err := s.fleet.client(t.Context(), "the home cluster", Access{})
		if err != nil {
			t.Fatal(err)
		}
		kept := s.fleet.Kept("twice")
		if err := kept.Save(t.Context(), "00", []byte("old")); err != nil {
			t.Fatal(err)
		}
		raced := &racing{Client: home.Client, between: between}
		if err := kept.save(t.Context(), raced, "00", []byte("second")); err != nil || raced.between != nil {
			t.Errorf("%s: %v", name, err)
		}
		got, err := kept.Load(t.Context(), "00")
		if want := map[string]string{"written": "first", "removed": ""}[name]; err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// racing is a client that others are faster than: between reading and writing.
type racing struct {
	client.Client
	between func(context.Context) error // done once
}

func (r *racing) Get(ctx context.Context, key client.ObjectKey, into client.Object, options ...client.GetOption) error {
	if err := r.Client.Get(ctx, key, into, options...); err != nil || r.between == nil {
		return err
	}
	between := r.between
	r.between = nil
	return between(ctx)
}

// testKeptRights: what lacks is named with how to grant it, by each way and by ferry check, whose role mends it.
func (s *apiServer) testKeptRights(t *testing.T) {
	for i := range mostKept + 1 { // so that there is something to remove
		if err := s.fleet.Kept("shop").Save(t.Context(), fmt.Sprintf("%02x", i), []byte("a")); err != nil {
			t.Fatal(err)
		}
	}
	for _, verb := range keptVerbs {
		others := slices.DeleteFunc(slices.Clone(keptVerbs), func(v string) bool { return v == verb })
		fleet := s.as(t, "keepers-without-"+verb, rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get"}},
			rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: others})
		kept := fleet.Kept("shop")
		both := func() error {
			_, err := kept.Load(t.Context(), "32")
			return errors.Join(err, kept.Save(t.Context(), "32", []byte("b")), kept.Save(t.Context(), "new-"+verb, []byte("c")))
		}
		want := "ferry may not " + verb + " ConfigMaps in namespace shop of the home cluster, where it keeps reports."
		if r := refused(t, both(), gitops.Denied); r.Reason != want || r.Snippet != "kubectl create role ferry-reports --namespace shop --verb get,list,create,update,delete --resource configmaps" {
			t.Errorf("without %s: %s\n%s", verb, r.Reason, r.Snippet)
		}

		fleet.Expect("shop", false)
		var fix string
		for _, f := range operation.Observed("Home cluster", fleet.ProbeHome(t.Context(), nil)).Findings {
			if f.State == operation.Works || !strings.Contains(f.Text, "configmaps") {
				continue
			}
			if f.State != operation.Mind || f.Text != "ferry may not "+verb+" configmaps in namespace shop. "+withoutKept {
				t.Errorf("%s: %s", f.State, f.Text)
			}
			fix += f.Fix
		}
		if fix == "" {
			t.Fatalf("ferry check does not ask for %s", verb)
		}
		s.apply(t, "kubectl", fix)
		s.until(t, both)
	}
}
