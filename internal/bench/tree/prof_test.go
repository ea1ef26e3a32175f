package tree
import ("testing";"runtime/debug";"github.com/ferry-chatops/ferry/internal/operation";"github.com/ferry-chatops/ferry/internal/gitops";"github.com/ferry-chatops/ferry/internal/render")
func BenchmarkPlatform(b *testing.B){ tree:=Make(1); for b.Loop(){ if _,err:=render.Build(b.Context(),tree,gitops.Kustomization{Path:"platform/overlays/cluster-03", Patches: []map[string]any{{"target":map[string]any{"kind":"HelmRelease"},"patch":"- {op: add, path: /metadata/labels, value: {cluster: x}}"}}}); err!=nil{b.Fatal(err)}}}
func BenchmarkApps(b *testing.B){ tree:=Make(1); for b.Loop(){ if _,err:=render.Build(b.Context(),tree,gitops.Kustomization{Path:"apps/cluster-03"}); err!=nil{b.Fatal(err)}}}
func BenchmarkBase(b *testing.B){ tree:=Make(1); for b.Loop(){ if _,err:=render.Build(b.Context(),tree,gitops.Kustomization{Path:"platform/base"}); err!=nil{b.Fatal(err)}}}
func BenchmarkFiles(b *testing.B){ tree:=Make(1); for b.Loop(){ if _,err:=render.Files(b.Context(),tree,gitops.Kustomization{Path:"platform/overlays/cluster-03"}); err!=nil{b.Fatal(err)}}}

func BenchmarkWhere(b *testing.B){ debug.SetGCPercent(400); tree:=Make(1); for b.Loop(){ if _,err:=operation.Open(tree).Where(b.Context(),"clusters/cluster-03","x",""); err!=nil{b.Fatal(err)}}}
