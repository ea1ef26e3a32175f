package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/internal/testenv/tools"
)

// The demo answers a script on a pipe, and the API server of prod agrees with every answer.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("needs clusters, not run with -short")
	}
	program, err := filepath.Abs(filepath.Join("..", "..", "bin", "ferry"))
	if err == nil {
		_, err = os.Stat(program)
	}
	if err == nil {
		_, err = tools.Find(t.Context())
	}
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("%v; run make build testenv", err)
	} else if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "demo")
	cmd := exec.CommandContext(t.Context(), program, "demo", "--dir", dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var progress strings.Builder
	cmd.Stderr = &progress
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	script := conversation{T: t, in: in, out: bufio.NewScanner(out)}
	script.say("list", "podinfo", "✓ 7.0.0", "✓ 6.9.2")
	prod := clusterOf(t, dir, "prod")
	release := func() string {
		var r helmv2.HelmRelease
		if err := prod.Get(t.Context(), client.ObjectKey{Namespace: "podinfo", Name: "podinfo"}, &r); err != nil {
			t.Fatal(err)
		}
		return r.Status.History[0].Status + " " + r.Status.History[0].ChartVersion
	}
	expect := func(want string) {
		t.Helper()
		if got := release(); got != want {
			t.Errorf("the API server says %s, want %s", got, want)
		}
	}
	expect("deployed 6.9.2")
	script.say("diff stage", "podinfo", "7.0.0", "6.9.2")
	script.say("promote podinfo@7.0.0 to prod --yes", "podinfo 7.0.0 on prod: Verified")
	expect("deployed 7.0.0")
	script.say("list podinfo", "✓ 7.0.0  ✓ 7.0.0")
	script.say("rollback podinfo on prod --yes", "podinfo 6.9.2 on prod: Verified")
	expect("deployed 6.9.2")
	script.say("list podinfo", "✓ 7.0.0  ✓ 6.9.2")
	script.say("promote podinfo@99.0.0 to prod --yes", "podinfo has no version 99.0.0")
	script.say("demo pr", "alice opened pull request #1.")
	script.hears("acme/fleet #1 opened", "Run 4 replicas of podinfo in prod", "Environments: prod", "Applications: podinfo", "Diff report   ferry diff pr 1 --repo acme/fleet --head ")
	script.say("diff pr 1", "acme/fleet #1: Run 4 replicas of podinfo in prod", "Merging this changes 2 objects in prod", "spec.replicas: 3 → 4", "ferry diff pr 1 --repo acme/fleet --refresh")
	script.say("diff pr 1 --env prod", "acme/fleet #1 in prod", "~ Deployment podinfo/podinfo  of HelmRelease podinfo/podinfo", "spec.values.replicaCount: 3 → 4")
	script.say("diff pr 1 --env prod --refresh", "acme/fleet #1 in prod", "spec.replicas: 3 → 4")
	fmt.Fprintln(in, "quit")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, progress.String())
	}

	log := exec.CommandContext(t.Context(), "git", "-C", filepath.Join(dir, "git", "acme", "fleet.git"), "log", "--author=ferry-bot", "--format=%s", "--numstat", "main")
	raw, err := log.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	want := "Roll back podinfo to 6.9.2 in prod\n\n1\t1\tapps/prod/podinfo.yaml\nPromote podinfo to 7.0.0 in prod\n\n1\t1\tapps/prod/podinfo.yaml\n"
	if string(raw) != want {
		t.Errorf("git log:\n%s\nwant:\n%s", raw, want)
	}
	if !strings.Contains(progress.String(), "the repository is "+dir) {
		t.Errorf("the progress does not say where the repository is:\n%s", progress.String())
	}
}

type conversation struct {
	*testing.T
	in   io.Writer
	out  *bufio.Scanner
	said int
}

// say types a line and reads the answer. The end of an answer shows by the echo of the next line: one of its own.
func (c *conversation) say(line string, texts ...string) {
	c.Helper()
	c.said++
	next := fmt.Sprintf("help next-%d", c.said)
	fmt.Fprintf(c.in, "%s\n%s\n", line, next)
	var answer strings.Builder
	begun := false
	for c.out.Scan() {
		text := c.out.Text()
		if strings.Contains(text, "ferry "+next) {
			break
		}
		if begun = begun || strings.HasSuffix(text, "ferry "+line); begun {
			answer.WriteString(text + "\n")
		}
	}
	if err := c.out.Err(); err != nil {
		c.Fatal(err)
	}
	for _, text := range texts {
		if !strings.Contains(answer.String(), text) {
			c.Errorf("the answer to %q lacks %q:\n%s", line, text, answer.String())
		}
	}
}

// hears waits for an event whose first line has a text.
func (c *conversation) hears(begin string, texts ...string) {
	c.Helper()
	c.said++
	var event strings.Builder
	begun := false
	for c.out.Scan() {
		text := c.out.Text()
		if begun = begun || strings.Contains(text, begin); begun && text == "" {
			break
		}
		if begun {
			event.WriteString(text + "\n")
		}
	}
	if err := c.out.Err(); err != nil {
		c.Fatal(err)
	}
	for _, text := range texts {
		if !strings.Contains(event.String(), text) {
			c.Errorf("the event lacks %q:\n%s", text, event.String())
		}
	}
}

// clusterOf opens an environment's cluster as the demo's configuration says.
func clusterOf(t *testing.T, dir, environment string) client.Client {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "ferry.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Environments []struct {
			Name    string
			Cluster struct{ KubeconfigFile string }
		}
	}
	if err := yaml.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	for _, e := range config.Environments {
		if e.Name != environment {
			continue
		}
		rest, err := clientcmd.BuildConfigFromFlags("", e.Cluster.KubeconfigFile)
		if err != nil {
			t.Fatal(err)
		}
		scheme := runtime.NewScheme()
		if err := helmv2.AddToScheme(scheme); err != nil {
			t.Fatal(err)
		}
		c, err := client.New(rest, client.Options{Scheme: scheme})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Fatalf("no environment %s in %s", environment, raw)
	return nil
}
