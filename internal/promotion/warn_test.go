package promotion_test

import (
	"strings"
	"testing"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// warns compares a card's warnings with what each is to contain.
func (w *world) warns(line string, want ...string) {
	w.Helper()
	got := w.card(line).Warnings
	if len(got) != len(want) {
		w.Errorf("%s: %d warnings, want %d: %q", line, len(got), len(want), got)
		return
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			w.Errorf("%s: %q, want %q", line, got[i], want[i])
		}
	}
}

func TestImageAutomationThatWouldUndoIt(t *testing.T) {
	w := newWorld(t)
	const line = "promote podinfo@7.0.0 to prod"
	robot := func(change func(*gitops.ImageAutomation)) {
		a := gitops.ImageAutomation{Object: gitops.Object{Kind: "ImageUpdateAutomation", Namespace: "flux-system", Name: "robot"}, Branch: "main", Path: "apps",
			Source: gitops.Source{Object: gitops.Object{Kind: "GitRepository", Namespace: "flux-system", Name: "writable"}, URL: w.cluster.url, Branch: "main"},
			Policies: []gitops.ImagePolicy{
				{Object: gitops.Object{Kind: "ImagePolicy", Namespace: "flux-system", Name: "other"}, Tag: "1.1.1"},
				{Object: gitops.Object{Kind: "ImagePolicy", Namespace: "flux-system", Name: "podinfo"}, Image: "example/podinfo", Tag: "6.9.0"},
			}}
		change(&a)
		// A robot need not be where the application runs.
		w.cluster.set(func(c *cluster) { c.robots = map[string][]gitops.ImageAutomation{"stage": {a}} })
	}
	robot(func(*gitops.ImageAutomation) {})
	w.warns(line) // no marker
	w.somebody(podinfoFile, "# ferry: ask in #releases", `#{"$imagepolicy": "flux-system:podinfo:tag"}`)
	w.warns(line, "ImageUpdateAutomation/flux-system/robot would undo this: it writes 6.9.0 there at its next run, the newest that ImagePolicy/flux-system/podinfo finds. "+
		"Suspend it first (flux suspend image update robot -n flux-system), narrow the policy, or remove the marker {\"$imagepolicy\": \"flux-system:podinfo:tag\"} from "+podinfoFile+" line 10.")
	w.warns("promote podinfo@6.9.0 to prod") // what the robot wants too

	for name, change := range map[string]func(*gitops.ImageAutomation){
		"suspended":             func(a *gitops.ImageAutomation) { a.Suspended = true },
		"of another folder":     func(a *gitops.ImageAutomation) { a.Path = "apps/pro" },
		"of another repository": func(a *gitops.ImageAutomation) { a.Source.URL += "-other" },
		"of other policies":     func(a *gitops.ImageAutomation) { a.Policies = a.Policies[:1] },
		"with nothing found":    func(a *gitops.ImageAutomation) { a.Policies[1].Tag = "" },
	} {
		robot(change)
		if got := w.card(line).Warnings; len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
	robot(func(a *gitops.ImageAutomation) { a.Branch = "updates" })
	w.warns(line, "proposes to undo this: it writes 6.9.0 there on the branch updates")
	robot(func(a *gitops.ImageAutomation) {
		a.Source.URL, a.Source.Condition = "", gitops.Condition{Status: "Unknown", Reason: "NotRead"}
	})
	w.warns(line, "would undo this")
	w.cluster.set(func(c *cluster) {
		c.robots, c.blind = nil, &gitops.Refusal{Code: gitops.Denied, Reason: "ferry may not list imageupdateautomations."}
	})
	w.warns(line, podinfoFile+" line 10 is marked for image automation (ImagePolicy/flux-system/podinfo), and whether that undoes this is not known: ferry may not list imageupdateautomations.")
}

func TestChangeThatFluxHasNotApplied(t *testing.T) {
	w := newWorld(t)
	w.cluster.set(func(c *cluster) { c.held = true })
	w.confirmed("promote podinfo@7.0.0 to prod")
	w.warns("promote podinfo@6.9.0 to prod", "for it yet (6.8.0 → 7.0.0): ferry status podinfo on prod tells how far that is.")
	w.cluster.set(func(c *cluster) { c.held = false })
	w.follow()
	w.warns("promote podinfo@6.9.0 to prod")
}

func TestKustomizationsThatWait(t *testing.T) {
	w := newWorld(t)
	w.cluster.set(func(c *cluster) { c.after = map[string]string{"more": "apps"} })
	w.warns("promote podinfo@7.0.0 to prod", "1 Kustomization depends on what changes here, flux-system/more: Flux holds back changes there until this one is applied and ready.")
}
