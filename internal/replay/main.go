// Command replay holds ferry's plans against what people did: it walks the first-parent history of a checkout, plans
// every commit that changed nothing but versions in its YAML files on its parent's files, and compares the lines. What is
// asked back is answered as the commit did it. `make replay REPO=DIR ROOTS=…` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

func main() {
	progress := log.New(os.Stderr, "", log.Ltime)
	log.SetOutput(io.Discard) // kustomize warns there, and to standard error
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = null
	}
	repo := flag.String("repo", "", "directory of a checkout, or a bare repository")
	roots := flag.String("roots", "", "directories that Flux syncs, with commas or blanks between them")
	limit := flag.Int("limit", 0, "commits to replay, the newest first; 0: all")
	skip := flag.Int("skip", 0, "commits to pass over after each that is replayed")
	verbose := flag.Bool("v", false, "tell every bump, not only those that were not planned to the same bytes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, progress, options{*repo, strings.FieldsFunc(*roots, func(r rune) bool { return r == ',' || r == ' ' }), *limit, *skip, *verbose})
	stop()
	if err != nil {
		progress.Fatalf("replay: %v", err)
	}
}

type options struct {
	repo        string
	roots       []string
	limit, skip int
	verbose     bool
}

var errEnough = errors.New("enough commits")

func run(ctx context.Context, out io.Writer, progress *log.Logger, o options) error {
	if o.repo == "" || len(o.roots) == 0 {
		return errors.New("name a checkout and the directories that Flux syncs: make replay REPO=DIR ROOTS='clusters/staging clusters/production'")
	}
	h, err := open(ctx, o.repo)
	if err != nil {
		return err
	}
	blobs, err := h.objects(ctx)
	if err != nil {
		return err
	}
	defer blobs.close()
	p := &player{history: h, objects: blobs}
	for _, root := range o.roots {
		p.roots = append(p.roots, path.Clean(root))
	}
	var all []verdict
	seen, replayed, skipped := 0, 0, 0
	err = h.commits(ctx, func(c commit) error {
		seen++
		found, err := c.versions(blobs)
		if errors.Is(err, errOther) {
			return nil
		}
		if err != nil {
			return err
		}
		if skipped++; replayed > 0 && skipped <= o.skip {
			return nil
		}
		skipped = 0
		begin := time.Now()
		verdicts, err := p.play(ctx, c, found)
		if errors.Is(err, errNoRoot) {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			progress.Printf("%s: %v", c.id[:10], err)
			return nil
		}
		replayed++
		progress.Printf("%s: %d fields, %.1fs", c.id[:10], len(found), time.Since(begin).Seconds())
		for _, v := range verdicts {
			if o.verbose || v.class != same && v.class != outside {
				progress.Printf("  %s", v)
			}
		}
		all = append(all, verdicts...)
		if replayed == o.limit {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	fmt.Fprintf(out, "%s: %d commits of files in place, %d of them of versions alone and with a root, %d fields\n", o.repo, seen, replayed, len(all))
	return table(out, all)
}

// String is one line about a bump.
func (v verdict) String() string {
	s := fmt.Sprintf("%s: %s:%d %s (%s) %s -> %s", v.class, v.file, v.line, v.path, v.kind, v.old, v.new)
	if len(v.answers) > 0 {
		s += fmt.Sprintf(" asked %v", v.answers)
	}
	if v.code != "" {
		s += " refused " + string(v.code)
	}
	if v.why != "" {
		s += ": " + v.why
	}
	return s
}

// table counts the classes for each kind of field. Kinds with a star are no version fields that ferry knows.
func table(out io.Writer, all []verdict) error {
	kinds := map[string][classes]int{}
	codes := map[string]map[gitops.Code]int{}
	var total, supported [classes]int
	for _, v := range all {
		row := kinds[v.kind]
		row[v.class]++
		kinds[v.kind] = row
		total[v.class]++
		if !strings.HasSuffix(v.kind, "*") {
			supported[v.class]++
		}
		for _, code := range append(v.answers, v.code) {
			if codes[v.kind] == nil {
				codes[v.kind] = map[gitops.Code]int{}
			}
			if code != "" {
				codes[v.kind][code]++
			}
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "KIND OF FIELD")
	for c := range classes {
		fmt.Fprintf(w, "\t%s", strings.ToUpper(c.String()))
	}
	fmt.Fprintln(w, "\tASKED OR REFUSED WITH")
	line := func(name string, row [classes]int, codes map[gitops.Code]int) {
		fmt.Fprint(w, name)
		for _, n := range row {
			fmt.Fprintf(w, "\t%d", n)
		}
		var list []string
		for code, n := range codes {
			list = append(list, fmt.Sprintf("%s %d", code, n))
		}
		slices.Sort(list)
		fmt.Fprintf(w, "\t%s\n", strings.Join(list, ", "))
	}
	names := make([]string, 0, len(kinds))
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		line(name, kinds[name], codes[name])
	}
	line("supported (no star)", supported, nil)
	line("all", total, nil)
	if err := w.Flush(); err != nil {
		return err
	}
	share := func(row [classes]int, of ...class) string {
		n, sum := 0, 0
		for c := range outside {
			sum += row[c]
			if slices.Contains(of, c) {
				n += row[c]
			}
		}
		if sum == 0 {
			return "none"
		}
		return fmt.Sprintf("%.1f %% of %d", 100*float64(n)/float64(sum), sum)
	}
	_, err := fmt.Fprintf(out, "supported: %s planned to the same bytes (asked included); all: %s planned or refused by code; %d wrong\n",
		share(supported, same, asked), share(total, same, asked, refused), total[wrong])
	return err
}
