package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/localhost"
	"github.com/ferry-chatops/ferry/internal/testenv"
	"github.com/ferry-chatops/ferry/internal/testenv/fleet"
)

const (
	reviewed = "acme/reviewed"
	large    = 300 // objects of the large Kustomization
	small    = 20  // objects of each of the small ones
	each     = 5   // small Kustomizations in each of four environments
	reviews  = 5   // of each kind; the median counts
)

// A site is a Flux Kustomization that both programs compare.
type site struct{ cluster, namespace, name string }

func (s site) dir() string { return s.namespace + "/" + s.name }

// sites are the large Kustomization, and the small ones: two environments on each cluster, each with a namespace for its Flux
// objects.
func sites() (one site, many []site) {
	for i, c := range []string{"stage", "stage", "prod", "prod"} {
		for j := range each {
			many = append(many, site{c, fmt.Sprintf("env-%d", i+1), fmt.Sprintf("app-%d", j+1)})
		}
	}
	return site{"prod", "large", "apps"}, many
}

// objectsOf are the files of a Kustomization, one for each object; those below changed are of another edition.
func objectsOf(s site, objects, changed int, edition string) map[string]string {
	files := map[string]string{}
	for i := range objects {
		name, value := fmt.Sprintf("%s-%03d", s.name, i), "first"
		if i < changed {
			value = edition
		}
		text := fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: %s}\ndata: {edition: %s, more: \"some text that is the same\"}\n", name, s.namespace, value)
		switch i % 3 {
		case 1:
			text = fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: %s, annotations: {edition: %s}}\nspec: {selector: {app: %[1]s}, ports: [{name: http, port: 80, targetPort: 8080}]}\n", name, s.namespace, value)
		case 2:
			text = fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  replicas: 0
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}, annotations: {edition: %[3]s}}
    spec: {containers: [{name: web, image: "ghcr.io/acme/web:1.0.0", ports: [{name: http, containerPort: 8080}]}]}
`, name, s.namespace, value)
		}
		files[s.dir()+"/"+name+".yaml"] = text
	}
	return files
}

// review measures diff pr on real clusters, beside flux diff kustomization on the same clusters and changes.
func review(ctx context.Context, t table, f *fleet.Fleet) (err error) {
	log.Print("comparing pull requests with clusters, beside the flux CLI")
	one, many := sites()
	files := objectsOf(one, large, 0, "")
	for _, s := range many {
		for name, text := range objectsOf(s, small, 0, "") {
			files[name] = text
		}
	}
	if _, err := f.Hub.CreateRepository(reviewed, files); err != nil {
		return err
	}
	counters := map[string]*testenv.Counter{}
	for _, name := range fleet.Environments {
		if counters[name], err = f.Clusters[name].Count(); err != nil {
			return err
		}
		defer counters[name].Close()
	}
	if err := applied(ctx, f, append(many, one)); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("environments:\n")
	fmt.Fprintf(&b, "- {name: large, cluster: {kubeconfigFile: %s}, flux: {namespaces: [large]}}\n", counters["prod"].KubeconfigFile)
	for i := range len(many) / each {
		s := many[i*each]
		fmt.Fprintf(&b, "- {name: %s, cluster: {kubeconfigFile: %s}, flux: {namespaces: [%[1]s]}}\n", s.namespace, counters[s.cluster].KubeconfigFile)
	}
	host, err := open(ctx, f, b.String())
	if err != nil {
		return err
	}
	defer host.Close()
	r := &reviewer{f: f, host: host, counters: counters, flux: f.Tool("flux")}
	if r.head, err = os.MkdirTemp("", "ferry-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.head)
	if err := say(ctx, host, "list", "environments"); err != nil { // a process that has answered before, as in chat
		return err
	}
	for _, c := range []change{
		{"review/small", fmt.Sprintf("1 of %d objects changes", small), " --env env-1", many[:1], small, 1, "1 object"},
		{"review/few", fmt.Sprintf("10 of %d objects change", large), " --env large", []site{one}, large, 10, "10 objects"},
		{"review/all", fmt.Sprintf("%d objects change, which is all", large), " --env large", []site{one}, large, large, fmt.Sprintf("%d objects", large)},
		{"review/many", fmt.Sprintf("1 of %d objects changes in each of %d Kustomizations in 4 environments", small, len(many)), "", many, small, 1, fmt.Sprintf("%d objects", len(many))},
	} {
		if err := r.compare(ctx, t, c); err != nil {
			return err
		}
	}
	peak, err := peak()
	if err != nil {
		return err
	}
	t.row("review/memory", fmt.Sprintf("%.0f", float64(peak)/1e3), "MB", "the most that the plugin and its processes had, each at its own peak")
	return nil
}

// applied has Flux apply the sites, and waits until it has.
func applied(ctx context.Context, f *fleet.Fleet, all []site) error {
	manifests := map[string]*strings.Builder{}
	seen := map[string]bool{}
	for _, s := range all {
		b := manifests[s.cluster]
		if b == nil {
			b = &strings.Builder{}
			manifests[s.cluster] = b
		}
		if !seen[s.namespace] {
			seen[s.namespace] = true
			fmt.Fprintf(b, "apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: reviewed, namespace: %[1]s}\nspec: {interval: 1h, url: %q, ref: {branch: main}}\n---\n",
				s.namespace, f.Hub.GitURL(reviewed))
		}
		fmt.Fprintf(b, "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: %s, namespace: %s}\nspec: {interval: 1h, path: ./%s, prune: true, sourceRef: {kind: GitRepository, name: reviewed}}\n---\n", s.name, s.namespace, s.dir())
	}
	var g errgroup.Group
	for cluster, b := range manifests {
		g.Go(func() error { return f.Clusters[cluster].Apply(ctx, []byte(b.String())) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	deadline, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for _, s := range all {
		for {
			var k kustomizev1.Kustomization
			err := f.Clusters[s.cluster].Client().Get(deadline, client.ObjectKey{Namespace: s.namespace, Name: s.name}, &k)
			if err == nil && meta.IsStatusConditionTrue(k.Status.Conditions, "Ready") {
				break
			}
			select {
			case <-deadline.Done():
				return fmt.Errorf("wait for Kustomization %s/%s: %w", s.namespace, s.name, errors.Join(err, deadline.Err()))
			case <-ticker.C:
			}
		}
	}
	return nil
}

// A reviewer asks both programs.
type reviewer struct {
	f        *fleet.Fleet
	host     *localhost.Host
	counters map[string]*testenv.Counter
	flux     string
	head     string // directory
	made     int    // branches
}

// A change is a kind of pull request.
type change struct {
	name, what, option string
	sites              []site
	objects, changed   int    // of each site
	want               string // in ferry's answer
}

// compare measures both programs on one kind of change, each time on a commit that neither has seen.
func (r *reviewer) compare(ctx context.Context, t table, c change) error {
	var ours, theirs []time.Duration
	var requests, dry, cliRequests, cliDry int64
	for range reviews {
		r.made++
		branch := fmt.Sprintf("change-%d", r.made)
		files := map[string]string{}
		for _, s := range c.sites {
			for file, text := range objectsOf(s, c.objects, c.changed, branch) {
				files[file] = text
			}
		}
		if _, err := r.f.Hub.Commit(reviewed, branch, "alice", branch, files); err != nil {
			return err
		}
		for file, text := range files {
			at := filepath.Join(r.head, file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o750), os.WriteFile(at, []byte(text), 0o600)); err != nil {
				return err
			}
		}
		all, dries := r.requests()
		begin := time.Now()
		if err := say(ctx, r.host, "diff pr "+branch+" --repo "+reviewed+c.option, c.want); err != nil {
			return err
		}
		ours = append(ours, time.Since(begin))
		now, dryNow := r.requests()
		requests, dry = now-all, dryNow-dries

		all, dries = r.requests()
		begin = time.Now()
		for _, s := range c.sites {
			if err := r.cli(ctx, s); err != nil {
				return err
			}
		}
		theirs = append(theirs, time.Since(begin))
		now, dryNow = r.requests()
		cliRequests, cliDry = now-all, dryNow-dries
	}
	t.times(c.name+"/ferry", ours, fmt.Sprintf("%s; line to message, the head not fetched yet; %d API requests, %d of them dry runs", c.what, requests, dry))
	t.times(c.name+"/flux", theirs, fmt.Sprintf("%s; flux diff kustomization, one after another; %d API requests, %d of them dry runs", c.what, cliRequests, cliDry))
	t.row(c.name, fmt.Sprintf("%.2f", float64(ours[len(ours)/2])/float64(theirs[len(theirs)/2])), "×", "of the flux CLI's time")
	return nil
}

// cli runs flux diff kustomization, whose exit code 1 is that there are differences.
func (r *reviewer) cli(ctx context.Context, s site) error {
	cmd := exec.CommandContext(ctx, r.flux, "diff", "kustomization", s.name, "--namespace", s.namespace, "--path", filepath.Join(r.head, s.dir()),
		"--kubeconfig", r.counters[s.cluster].KubeconfigFile, "--progress-bar=false")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 && bytes.Contains(out.Bytes(), []byte("drifted")) {
		return nil
	}
	return fmt.Errorf("flux diff kustomization %s: %w, where differences were expected\n%s", s.dir(), err, &out)
}

// requests are those that both clusters have had.
func (r *reviewer) requests() (all, dry int64) {
	for _, c := range r.counters {
		a, d := c.Requests()
		all, dry = all+a, dry+d
	}
	return all, dry
}

// peak is the most memory, in kB, that the processes below this one that are the plugin's had, as Linux counts it (VmHWM of
// proc(5)), summed up.
func peak() (int64, error) {
	files, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return 0, fmt.Errorf("list processes: %w", err)
	}
	type process struct {
		parent, most int64
		plugin       bool
	}
	all := map[int64]process{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		number := func(key string) int64 {
			_, after, _ := strings.Cut(string(raw), "\n"+key+":")
			n, _ := strconv.ParseInt(strings.Fields(after + " 0")[0], 10, 64) // zero: a process of the kernel has none
			return n
		}
		all[number("Pid")] = process{number("PPid"), number("VmHWM"), strings.HasPrefix(string(raw), "Name:\texecutor_ferry")}
	}
	var sum int64
	for _, p := range all {
		for above := p.parent; p.plugin && above > 1; above = all[above].parent {
			if above == int64(os.Getpid()) {
				sum += p.most
			}
		}
	}
	return sum, nil
}
