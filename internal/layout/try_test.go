package layout

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestTry(t *testing.T) {
	dir := os.Getenv("TRY")
	root := os.Getenv("ROOT")
	if dir == "" {
		t.Skip()
	}
	tree := Open(os.DirFS(dir))
	start := time.Now()
	env, err := tree.Root(t.Context(), root, "prod")
	if err != nil {
		t.Fatal(err)
	}
	t.Log("root", time.Since(start), env.Sites[0].Namespace, env.Sites[0].Name, env.Sites[0].Path)
	start = time.Now()
	roots, err := tree.Roots(t.Context(), env)
	t.Log("roots", roots, err, time.Since(start))
	var others []Environment
	for _, r := range roots {
		o, err := tree.Root(t.Context(), r, r)
		if err != nil {
			t.Log(r, err)
			continue
		}
		others = append(others, o)
	}
	start = time.Now()
	fields, problems, err := tree.Survey(t.Context(), env, others, os.Getenv("APP"))
	t.Log("survey", time.Since(start), len(fields), err)
	for _, f := range fields {
		if os.Getenv("QUIET") == "" || f.Refusal != nil || !f.Proved {
			r := ""
			if f.Refusal != nil {
				r = f.Refusal.Error()
			}
			t.Log(f.Application.Kind, f.Application, f.Version.Kind, f.Version.Name, f.Version.Container, f.File, f.Line, f.Path, f.Value, strings.Join(f.AlsoFeeds, ","), f.Proved, r)
		}
	}
	for _, p := range problems {
		t.Log("PROBLEM", p.Kustomization, p.Path, p.Err)
	}
}
