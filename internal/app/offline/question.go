package offline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ferry-chatops/ferry/internal/app/fetch"
	"github.com/ferry-chatops/ferry/internal/git"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
)

// A Question is what where and plan have in common.
type Question struct {
	Tree   string   // a directory, or a source to fetch
	Path   string   // the directory in it that the environment's Flux points at; for where, empty is all there are
	Also   []string // directories that the Flux of other environments points at, besides those that the tree tells of
	Words  []string // [APP] [in ENV], or APP@VERSION to ENV
	Output string   // text, json or diff
	Colour bool

	Out, Err io.Writer
}

// ErrUsage is a question that cannot be read, ErrRefused one whose answer, which was shown, is a refusal.
var (
	ErrUsage   = errors.New("usage")
	ErrRefused = errors.New("refused")
)

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUsage, fmt.Sprintf(format, args...))
}

// split takes "in ENV" off the end of the words.
func split(words []string) (rest []string, environment string, err error) {
	i := slices.IndexFunc(words, func(w string) bool { return slices.Contains([]string{"in", "on", "to"}, strings.ToLower(w)) })
	if i < 0 {
		return words, "", nil
	}
	if len(words) != i+2 {
		return nil, "", usage("behind %q comes one environment", words[i])
	}
	if err := gitops.ValidEnvironment(words[i+1]); err != nil {
		return nil, "", usage("%v", err)
	}
	return words[:i], words[i+1], nil
}

// within is a directory, which may be written as on this machine, as a path in the tree. It is of the value of a flag.
func (q Question) within(flag, dir string) (string, error) {
	at := dir
	if tree, err := filepath.Abs(q.Tree); err == nil && filepath.IsAbs(dir) && !q.fetched() {
		if at, err = filepath.Rel(tree, dir); err != nil {
			at = dir
		}
	}
	if at = path.Clean(filepath.ToSlash(at)); !fs.ValidPath(at) {
		return "", usage("%s %q is no directory within --tree %q", flag, dir, q.Tree)
	}
	return at, nil
}

// roots are the directory that Flux points at, which may be empty, and those of other environments.
func (q Question) roots() (root string, also []string, err error) {
	if q.Path != "" {
		root, err = q.within("--path", q.Path)
	}
	for _, dir := range q.Also {
		other, bad := q.within("--also", dir)
		err = cmp.Or(err, bad)
		also = append(also, other)
	}
	return root, also, err
}

// Where answers where.
func Where(ctx context.Context, q Question) error {
	words, environment, err := split(q.Words)
	if err != nil {
		return err
	}
	if len(words) > 1 {
		return usage("one application, or none for all: %s", strings.Join(words, " "))
	}
	root, also, err := q.roots()
	if err != nil {
		return err
	}
	if q.Path == "" {
		if environment != "" {
			return usage("which environment %s is says --path; without it, all are meant", environment)
		}
		return q.everywhere(ctx, strings.Join(words, ""), also)
	}
	if environment == "" {
		environment = root
	}
	return q.open(ctx, "--tree", func(files fs.FS) error {
		places, err := operation.Open(files, also...).Where(ctx, root, environment, strings.Join(words, ""))
		if err != nil {
			return q.refuse(err)
		}
		for _, p := range places.Problems {
			fmt.Fprintln(q.Err, "ferry: "+plain(p))
		}
		if q.Output == "json" {
			return writeJSON(q.Out, places.Places)
		}
		return writePlaces(q.Out, places, environment, palette{q.Colour})
	})
}

// everywhere answers where for all environments of the tree.
func (q Question) everywhere(ctx context.Context, application string, also []string) error {
	return q.open(ctx, "--tree", func(files fs.FS) error {
		roots, all, err := operation.Open(files, also...).Everywhere(ctx, application)
		if err != nil {
			return q.refuse(err)
		}
		type place struct {
			Environment string `json:"environment"`
			operation.Place
		}
		places := []place{}
		for i, root := range roots {
			for _, p := range all[i].Problems {
				fmt.Fprintln(q.Err, "ferry: "+plain(root+": "+strings.TrimPrefix(p, root+": ")))
			}
			for _, p := range all[i].Places {
				places = append(places, place{root, p})
			}
			if q.Output == "json" || application != "" && len(all[i].Places) == 0 {
				continue
			}
			if err := writePlaces(q.Out, all[i], root, palette{q.Colour}); err != nil {
				return err
			}
			fmt.Fprintln(q.Out)
		}
		if q.Output == "json" {
			return writeJSON(q.Out, places)
		}
		return nil
	})
}

// A Change is what plan has beyond a question.
type Change struct {
	Chart, Shared, Override, Pin, DropDigest bool

	Image, Field string
	Write        bool // write the files
}

// Plan answers plan, and writes what was planned if that is wanted.
func Plan(ctx context.Context, q Question, c Change) error {
	words, environment, err := split(q.Words)
	if err != nil {
		return err
	}
	if len(words) != 1 || environment == "" {
		return usage("write APP@VERSION to ENV")
	}
	application, version, ok := strings.Cut(words[0], "@")
	if !ok || application == "" || version == "" {
		return usage("the version follows the application behind an @: APP@VERSION to ENV")
	}
	root, also, err := q.roots()
	if err != nil {
		return err
	}
	return q.open(ctx, "--tree", func(files fs.FS) error {
		checkout, local := files.(*Checkout)
		if c.Write && !local {
			return usage("--write needs a directory on this machine")
		}
		planned, err := operation.Open(files, also...).Plan(ctx, root, gitops.Promote{Version: version, Change: gitops.Change{
			Application: application, Environment: environment, Chart: c.Chart, Image: c.Image, Field: c.Field,
			Shared: c.Shared, Override: c.Override, Pin: c.Pin, DropDigest: c.DropDigest}})
		if err == nil && c.Write {
			err = checkout.Write(planned.Content, planned.Before)
		}
		if err != nil {
			return q.refuse(err)
		}
		return q.planned(planned, c.Write)
	})
}

func (q Question) planned(planned operation.Planned, written bool) error {
	p := palette{q.Colour}
	switch q.Output {
	case "json":
		return writeJSON(q.Out, planned)
	case "diff":
		for _, w := range planned.Warnings {
			fmt.Fprintln(q.Err, "ferry: "+plain(w))
		}
		_, err := io.WriteString(q.Out, p.diff(planned.Patch))
		return err
	default:
		return writePlanned(q.Out, planned, written, p)
	}
}

// refuse shows a refusal; other errors it returns as they are.
func (q Question) refuse(err error) error {
	r := (*gitops.Refusal)(nil)
	if !errors.As(err, &r) {
		return err
	}
	var failed error
	switch q.Output {
	case "json":
		failed = writeRefusalJSON(q.Out, r)
	case "diff": // what goes to git apply holds no words
		failed = writeRefusal(q.Err, r, palette{})
	default:
		failed = writeRefusal(q.Out, r, palette{q.Colour})
	}
	if failed != nil {
		return fmt.Errorf("write the answer: %w", failed)
	}
	return ErrRefused
}

// limits of an archive with a repository.
var limits = fetch.Limits{Archive: 256 << 20, Unpacked: 1 << 30, Entries: 100_000}

const fetchTimeout = 5 * time.Minute

// fetched says whether the tree is a source to fetch.
func (q Question) fetched() bool {
	return strings.Contains(q.Tree, "::") || strings.Contains(q.Tree, "://")
}

// open has the files used of the tree that a flag names: those of a directory, as a *Checkout, or those of a pinned source.
func (q Question) open(ctx context.Context, flag string, use func(fs.FS) error) error {
	log.SetOutput(io.Discard) // kustomize warns there, in words that a repository may choose
	if !q.fetched() {
		checkout, err := Open(q.Tree)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: there is no directory %s; a commit or branch of the repository is checked out with git worktree add DIR COMMIT", flag, q.Tree)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
		defer checkout.Close()
		return use(checkout)
	}
	address, err := fetch.Parse(q.Tree)
	if err != nil {
		return usage("%s: %v", flag, err)
	}
	trees, err := git.New("")
	if err != nil {
		return err
	}
	defer trees.Close()
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	var answered error
	from := fetch.Fetcher{Trees: trees.Tree, Client: fetch.Client(http.DefaultTransport), Limits: limits}
	if err := from.Fetch(ctx, address, func(files fs.FS) { answered = use(files) }); err != nil {
		return fmt.Errorf("fetch %s: %w", flag, err)
	}
	return answered
}
