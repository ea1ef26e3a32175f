package layout

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

var update = flag.Bool("update", false, "write what is found and planned into testdata")

// A tree is one file of testdata: add a file, get a test; -update writes what comes out. Its comment says what it shows
// and, in its last line, the root: "root: clusters/prod". A section "where" lists the fields that are found, a section
// "plan APP@VERSION FLAGS" what is planned: the lines that change and what changes with them, or the refusal.
type tree struct {
	archive *txtar.Archive
	root    string
	files   fstest.MapFS
}

func read(t *testing.T, file string) tree {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	one := tree{archive: archive, files: fstest.MapFS{}}
	_, one.root, _ = strings.Cut(strings.TrimSpace(string(archive.Comment)), "root: ")
	for _, f := range archive.Files {
		if f.Name != "where" && !strings.HasPrefix(f.Name, "plan ") {
			one.files[f.Name] = &fstest.MapFile{Data: f.Data, Mode: 0o644}
		}
	}
	return one
}

func (one tree) environments(t *testing.T, opened *Tree) (Environment, []Environment) {
	t.Helper()
	env, err := opened.Root(t.Context(), one.root, "prod")
	if err != nil {
		t.Fatal(err)
	}
	roots, err := opened.Roots(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	var others []Environment
	for _, root := range roots {
		other, err := opened.Root(t.Context(), root, root)
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, other)
	}
	return env, others
}

func TestTrees(t *testing.T) {
	found, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(found) == 0 {
		t.Fatalf("no trees: %v", err)
	}
	for _, file := range found {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			one := read(t, file)
			opened := Open(one.files)
			env, others := one.environments(t, opened)
			for i, section := range one.archive.Files {
				var got string
				switch line, isPlan := strings.CutPrefix(section.Name, "plan "); {
				case section.Name == "where":
					got = where(t, opened, env, others)
				case isPlan:
					got = plan(t, opened, env, others, line)
				default:
					continue
				}
				if *update {
					one.archive.Files[i].Data = []byte(got)
				} else if d := gocmp.Diff(string(section.Data), got); d != "" {
					t.Errorf("%s: %s", section.Name, d)
				}
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(one.archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// What is found in all environments together is what is found in each of them by itself.
func TestTogetherIsFoundWhatIsFoundAlone(t *testing.T) {
	found, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, file := range found {
		one := read(t, file)
		opened, again := Open(one.files), Open(one.files)
		env, others := one.environments(t, opened)
		together, err := again.Surveys(t.Context(), append([]Environment{env}, others...), "")
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range append([]Environment{env}, others...) {
			beside := slices.Delete(append([]Environment{env}, others...), i, i+1)
			if d := gocmp.Diff(where(t, opened, e, beside), described(together[i].Fields, together[i].Problems)); d != "" {
				t.Errorf("%s, %s: %s", file, e.Name, d)
			}
			compared++
		}
	}
	if compared < 20 {
		t.Errorf("only %d environments", compared)
	}
}

func where(t *testing.T, opened *Tree, env Environment, others []Environment) string {
	t.Helper()
	fields, problems, err := opened.Survey(t.Context(), env, others, "")
	if err != nil {
		t.Fatal(err)
	}
	return described(fields, problems)
}

func described(fields []Field, problems []Problem) string {
	var b strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&b, "%s %s %s: %s:%d %s = %s", object(f.Application), f.Version.Kind, f.Name(), f.File, f.Line, f.Path, f.Value)
		if len(f.AlsoFeeds) > 0 {
			fmt.Fprintf(&b, " (also feeds %s)", strings.Join(f.AlsoFeeds, ", "))
		}
		if !f.Proved {
			b.WriteString(" (not proved)")
		}
		if f.Refusal != nil {
			fmt.Fprintf(&b, " (%s)", told(f.Refusal))
		}
		b.WriteByte('\n')
	}
	for _, p := range problems {
		fmt.Fprintf(&b, "problem of %s: %s\n", p.Kustomization, told(p.Err))
	}
	return b.String()
}

func told(err error) string {
	if r := (*gitops.Refusal)(nil); errors.As(err, &r) {
		if r.Code == gitops.Layout && len(r.Details) > 0 {
			return fmt.Sprintf("%s: %s (%s)", r.Code, r.Reason, strings.Join(r.Details, "; "))
		}
		return fmt.Sprintf("%s: %s", r.Code, r.Reason)
	}
	return err.Error()
}

func plan(t *testing.T, opened *Tree, env Environment, others []Environment, line string) string {
	t.Helper()
	words := strings.Fields(line)
	app, version, _ := strings.Cut(words[0], "@")
	change := Change{Application: app, Version: strings.ReplaceAll(version, "_", " ")}
	for i, w := range words {
		switch w {
		case "--chart":
			change.Chart = true
		case "--image":
			change.Image = words[i+1]
		case "--field":
			change.Field = words[i+1]
		case "--override":
			change.Override = true
		case "--shared":
			change.Shared = true
		case "--pin":
			change.Pin = true
		case "--drop-digest":
			change.DropDigest = true
		}
	}
	var b strings.Builder
	result, err := opened.Plan(t.Context(), env, others, change)
	if err != nil {
		fmt.Fprintln(&b, told(err))
		r := (*gitops.Refusal)(nil)
		if errors.As(err, &r) {
			for _, c := range r.Candidates {
				fmt.Fprintf(&b, "candidate %s:%d %s = %s (%s)\n", c.File, c.Line, c.Path, c.Value, c.Kind)
			}
			if r.Code == gitops.Shared {
				fmt.Fprintln(&b, strings.Join(r.Details, "\n"))
			}
		}
		return b.String()
	}
	for _, e := range result.Edits {
		fmt.Fprintf(&b, "%s:%d %s %s: %s -> %s\n", e.File, e.Line, e.Kind, e.Path, e.Old, e.New)
	}
	slices.SortFunc(result.Files, func(a, b gitops.File) int { return cmp.Compare(a.Path, b.Path) })
	for _, f := range result.Files {
		was, err := opened.files.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		old, now := bytes.Split(was, []byte("\n")), bytes.Split(f.Content, []byte("\n"))
		if added := len(now) - len(old); added != 0 && change.Override {
			at := 0
			for at < len(old) && bytes.Equal(old[at], now[at]) {
				at++
			}
			if !bytes.Equal(bytes.Join(old[at:], nil), bytes.Join(now[at+added:], nil)) {
				t.Errorf("%s changed besides what was added:\n%s", f.Path, f.Content)
			}
			for _, line := range now[at : at+added] {
				fmt.Fprintf(&b, "+%s\n", line)
			}
			continue
		}
		if len(old) != len(now) {
			t.Errorf("%s has another number of lines", f.Path)
			continue
		}
		for i := range old {
			if !bytes.Equal(old[i], now[i]) {
				fmt.Fprintf(&b, "-%s\n+%s\n", old[i], now[i])
			}
		}
	}
	if len(result.Edits) == 0 {
		fmt.Fprintln(&b, "already there")
	}
	if len(result.AlsoFeeds) > 0 {
		fmt.Fprintln(&b, "also feeds", strings.Join(result.AlsoFeeds, ", "))
	}
	if len(result.AlsoChanges) > 0 {
		fmt.Fprintln(&b, "also changes", strings.Join(result.AlsoChanges, ", "))
	}
	return b.String()
}
