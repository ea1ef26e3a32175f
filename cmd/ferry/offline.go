package main

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"time"

	"github.com/ferry-chatops/ferry/internal/app/offline"
	"github.com/ferry-chatops/ferry/internal/helm"
)

// A checkout holds the options of the commands that look into one.
type checkout struct {
	Tree string   `default:"." placeholder:"DIR" help:"The repository: a directory, or a source to fetch, pinned to a commit or checksum. Default: here."`
	Also []string `placeholder:"ROOT" sep:"none" help:"A directory that another environment's Flux points at, where no file in the repository tells of it. Repeatable."`
}

type where struct {
	checkout
	Path   string   `placeholder:"ROOT" help:"The directory in it that the environment's Flux points at, such as clusters/production. Default: all there are."`
	Output string   `short:"o" enum:"text,json" default:"text" help:"text or json."`
	Words  []string `arg:"" optional:"" name:"app" help:"[APP] [in ENV]: one application, or none for all. ENV is only a name."`
}

type plan struct {
	checkout
	Path       string   `required:"" placeholder:"ROOT" help:"The directory in it that the environment's Flux points at, such as clusters/production."`
	Chart      bool     `xor:"version" help:"The chart's version is meant."`
	Image      string   `xor:"version" placeholder:"NAME" help:"This image's version is meant."`
	Field      string   `placeholder:"FILE:PATH" help:"This field is meant, as where prints it; or FILE:LINE."`
	Shared     bool     `help:"Agreed that other environments change with it."`
	Override   bool     `help:"Where other environments share the bytes, state the version in this one's own files."`
	Pin        bool     `help:"Agreed that the version takes the place of a range."`
	DropDigest bool     `help:"Agreed that a digest beside the tag goes."`
	Write      bool     `help:"Write the files."`
	Output     string   `short:"o" enum:"text,json,diff" default:"text" help:"text, json, or diff for git apply."`
	Words      []string `arg:"" name:"app" help:"APP@VERSION to ENV. VERSION: a tag, TAG@sha256:…, sha256:…, a chart's version, a commit, or a range in quotes where the field holds one."`
}

type diff struct {
	checkout
	Base   string   `required:"" placeholder:"DIR" help:"What it is compared with: a directory, or a source to fetch, as --tree."`
	Path   string   `placeholder:"ROOT" help:"The directory in both that an environment's Flux points at, such as clusters/production. Default: all there are."`
	Allow  []string `placeholder:"URL" help:"Charts may be fetched from what lies below this address, without a credential: https://charts.example.com, oci://ghcr.io/acme. Those in the trees themselves need none."`
	Output string   `short:"o" enum:"text,json,markdown" default:"text" help:"text, json or markdown."`
}

// Run tells what differs for environments.
func (d diff) Run(ctx context.Context, t terminal) error {
	err := offline.Diff(ctx, d.question(t, d.Path, d.Output, nil), offline.Comparison{Base: d.Base, Allow: d.Allow, Charts: helm.NewRenderer(helm.New(time.Now))})
	if errors.Is(err, offline.ErrDiffers) {
		return errRefused
	}
	return err
}

// Run tells where versions stand.
func (w where) Run(ctx context.Context, t terminal) error {
	return answered(offline.Where(ctx, w.question(t, w.Path, w.Output, w.Words)))
}

// Run tells what a promotion would write, and writes it if asked to.
func (p plan) Run(ctx context.Context, t terminal) error {
	return answered(offline.Plan(ctx, p.question(t, p.Path, p.Output, p.Words), offline.Change{Chart: p.Chart, Image: p.Image, Field: p.Field,
		Shared: p.Shared, Override: p.Override, Pin: p.Pin, DropDigest: p.DropDigest, Write: p.Write}))
}

// question also lets the process collect less garbage, since it ends with the answer, and takes standard error from kustomize,
// which warns there for every file that it finds old-fashioned.
func (c checkout) question(t terminal, root, output string, words []string) offline.Question {
	const most = 330 << 20 // bytes
	debug.SetGCPercent(800)
	debug.SetMemoryLimit(most)
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = null
	}
	return offline.Question{Tree: c.Tree, Path: root, Also: c.Also, Words: words, Output: output, Colour: styled(t.out), Out: t.out, Err: t.err}
}

// answered turns a refusal, which was shown, into its exit code.
func answered(err error) error {
	if errors.Is(err, offline.ErrRefused) {
		return errRefused
	}
	return err
}
