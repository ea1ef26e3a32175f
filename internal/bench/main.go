// Command bench measures ferry's built programs, the plugin on real clusters, and prints a line for each measure: name, median, unit,
// and what was measured. `make bench` runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ferry-chatops/ferry/internal/localhost"
	"github.com/ferry-chatops/ferry/internal/testenv"
	"github.com/ferry-chatops/ferry/internal/testenv/fleet"
)

const (
	bin          = "bin"
	applications = 50 // in each of two environments
	runs         = 20
	promotions   = 6
)

func main() {
	log.SetFlags(log.Ltime)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		log.Fatalf("bench: %v", err)
	}
}

// A table collects measures.
type table struct{ *tabwriter.Writer }

func (t table) row(name, value, unit, what string) {
	fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", name, value, unit, what)
}

// times writes the median of durations, and their range.
func (t table) times(name string, all []time.Duration, what string) {
	slices.Sort(all)
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }
	t.row(name, ms(all[len(all)/2]), "ms", fmt.Sprintf("%s; median of %d, %s to %s", what, len(all), ms(all[0]), ms(all[len(all)-1])))
}

func run(ctx context.Context, out io.Writer) error {
	t := table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	defer t.Flush()
	for _, name := range []string{fmt.Sprintf("executor_ferry_%s_%s", runtime.GOOS, runtime.GOARCH), "ferry"} {
		info, err := os.Stat(filepath.Join(bin, name))
		if err != nil {
			return err
		}
		t.row("size/"+strings.SplitN(name, "_", 2)[0], fmt.Sprintf("%.1f", float64(info.Size())/1e6), "MB", name)
	}
	log.Print("where and plan")
	if err := locate(ctx, t); err != nil {
		return err
	}
	log.Print("cold starts")
	var cold []time.Duration
	for range runs {
		d, err := coldStart(ctx)
		if err != nil {
			return err
		}
		cold = append(cold, d)
	}
	t.times("executor/cold-start", cold, "process start to the first answer (help)")

	begin := time.Now()
	env, err := testenv.Start(ctx, testenv.Options{Clusters: fleet.Environments, Flux: true, Log: log.Printf})
	if err != nil {
		return err
	}
	defer env.Stop()
	t.row("testenv/start", fmt.Sprintf("%.1f", time.Since(begin).Seconds()), "s", "two clusters with Flux, from built programs; once")
	dir, err := os.MkdirTemp("", "ferry-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	f, err := fleet.Start(ctx, env, dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := list(ctx, t, f); err != nil {
		return err
	}
	if err := promote(ctx, t, f); err != nil {
		return err
	}
	return review(ctx, t, f)
}

func coldStart(ctx context.Context) (time.Duration, error) {
	begin := time.Now()
	host, err := localhost.Start(ctx, localhost.Options{Plugins: bin, Log: io.Discard})
	if err != nil {
		return 0, err
	}
	defer host.Close()
	if _, err := host.Execute(ctx, "ferry help"); err != nil {
		return 0, err
	}
	return time.Since(begin), nil
}

// open starts the plugin on the fleet.
func open(ctx context.Context, f *fleet.Fleet, more string) (*localhost.Host, error) {
	config, err := os.ReadFile(f.ConfigFile)
	if err != nil {
		return nil, err
	}
	home, err := os.ReadFile(f.HomeFile)
	if err != nil {
		return nil, err
	}
	configs := [][]byte{config}
	if more != "" {
		configs = append(configs, []byte(more))
	}
	return localhost.Start(ctx, localhost.Options{Plugins: bin, Configs: configs, Kubeconfig: home, Mention: "<@U0BENCH>", Log: io.Discard})
}

// say asks one line and fails where the answer lacks the text.
func say(ctx context.Context, host *localhost.Host, line, want string) error {
	answer, err := host.Execute(ctx, "ferry "+line)
	if err != nil {
		return err
	}
	if text, _ := answer.Render(false); !strings.Contains(text, want) {
		return fmt.Errorf("the answer to %q lacks %q:\n%s", line, want, text)
	}
	return nil
}

func list(ctx context.Context, t table, f *fleet.Fleet) error {
	log.Printf("making %d applications in each environment", applications)
	var b strings.Builder
	b.WriteString("environments:\n")
	for _, e := range fleet.Environments {
		if err := f.Clusters[e].Apply(ctx, many()); err != nil {
			return err
		}
		fmt.Fprintf(&b, "- {name: %s, cluster: {kubeconfigFile: %s}, namespaces: [bench], flux: {cluster: {kubeconfigFile: %[2]s}, namespaces: [bench]}}\n", e, f.Clusters[e].KubeconfigFile)
	}
	host, err := open(ctx, f, b.String())
	if err != nil {
		return err
	}
	defer host.Close()
	var first, again []time.Duration
	for i := range runs {
		begin := time.Now()
		if err := say(ctx, host, "list", fmt.Sprintf("%d applications in 2 environments", applications)); err != nil {
			return err
		}
		if d := time.Since(begin); i == 0 {
			first = append(first, d)
		} else {
			again = append(again, d)
		}
	}
	t.times("list/first", first, fmt.Sprintf("2 environments × %d applications, no connection yet", applications))
	t.times("list/again", again, fmt.Sprintf("2 environments × %d applications", applications))
	return nil
}

// many is a manifest of applications: half are suspended HelmReleases with a Deployment each, half are Deployments.
func many() []byte {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Namespace\nmetadata: {name: bench}\n")
	for i := range applications {
		name, labels := fmt.Sprintf("app-%02d", i), "kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: bench"
		if i%2 == 0 {
			fmt.Fprintf(&b, `---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: %s, namespace: bench, labels: {%s}}
spec: {interval: 10m, suspend: true, chart: {spec: {chart: podinfo, version: 6.9.0, sourceRef: {kind: HelmRepository, name: charts}}}}
`, name, labels)
			labels = fmt.Sprintf("helm.toolkit.fluxcd.io/name: %s, helm.toolkit.fluxcd.io/namespace: bench", name)
		}
		fmt.Fprintf(&b, `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: bench, labels: {%[2]s}}
spec:
  replicas: 1
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: %[1]s, image: "ghcr.io/acme/%[1]s:1.0.%[3]d"}]}
`, name, labels, i)
	}
	return []byte(b.String())
}

func promote(ctx context.Context, t table, f *fleet.Fleet) error {
	log.Printf("promoting %d times", promotions)
	host, err := open(ctx, f, "")
	if err != nil {
		return err
	}
	defer host.Close()
	var toCommit, toMessage, whole []time.Duration
	versions := []string{"7.0.0", "7.1.0"}
	for i := range promotions {
		version := versions[i%len(versions)]
		answer, err := host.Execute(ctx, fmt.Sprintf("ferry promote podinfo@%s to prod", version))
		if err != nil {
			return err
		}
		text, lines := answer.Render(false)
		button := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "--confirm") })
		if button < 0 {
			return fmt.Errorf("no card:\n%s", text)
		}
		done, cancel := deployed(ctx, f.Clusters["prod"].Client(), version)
		begin := time.Now()
		err = say(ctx, host, strings.TrimPrefix(lines[button], "ferry "), "podinfo "+version+" on prod: Verified")
		end := time.Now()
		cancel()
		if err != nil {
			return err
		}
		commit, err := committed(f, begin)
		if err != nil {
			return err
		}
		toCommit = append(toCommit, commit.Sub(begin))
		toMessage = append(toMessage, end.Sub(<-done))
		whole = append(whole, end.Sub(begin))
	}
	t.times("promote/confirm-to-commit", toCommit, "button pressed to GitHub's answer that the commit is there")
	t.times("promote/done-to-message", toMessage, "HelmRelease deployed and Ready in the cluster to ferry's message")
	t.times("promote/whole", whole, "button pressed to Verified, most of it Flux and Helm")
	return nil
}

// committed is when the stand-in had answered the last commit since begin.
func committed(f *fleet.Fleet, begin time.Time) (time.Time, error) {
	for _, r := range slices.Backward(f.Hub.Requests()) {
		if end := r.Time.Add(r.Took); slices.Contains(r.Fields, "createCommitOnBranch") && end.After(begin) {
			return end, nil
		}
	}
	return time.Time{}, errors.New("no commit among the requests to GitHub")
}

// deployed watches closely, beside ferry, and tells when the cluster had deployed the version.
func deployed(ctx context.Context, c client.Client, version string) (<-chan time.Time, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan time.Time, 1)
	go func() {
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			var r helmv2.HelmRelease
			err := c.Get(ctx, client.ObjectKey{Namespace: "podinfo", Name: "podinfo"}, &r)
			ready := slices.ContainsFunc(r.Status.Conditions, func(x metav1.Condition) bool {
				return x.Type == "Ready" && x.Status == "True" && x.ObservedGeneration == r.Generation
			})
			if err == nil && ready && len(r.Status.History) > 0 && r.Status.History[0].ChartVersion == version && r.Status.History[0].Status == "deployed" {
				done <- time.Now()
				return
			}
			select {
			case <-ctx.Done():
				done <- time.Now()
				return
			case <-ticker.C:
			}
		}
	}()
	return done, cancel
}
