package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// observed is one environment's applications, or the reason why there are none.
type observed struct {
	environment string
	apps        []gitops.Application
	err         error
}

// observe reads environments side by side, each within what ctx leaves it.
func observe(ctx context.Context, fleet Fleet, environments []string) []observed {
	all := make([]observed, len(environments))
	for i, err := range Together(len(environments), func(i int) (err error) {
		all[i].apps, err = fleet.Applications(ctx, environments[i])
		return err
	}) {
		all[i].environment, all[i].err = environments[i], err
	}
	return all
}

// Together does n things side by side and returns their errors. A panic in one of them is its error: in a goroutine of
// its own it would end the process, and everything else under way with it.
func Together(n int, do func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			defer func() {
				if cause := recover(); cause != nil {
					errs[i] = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
				}
			}()
			errs[i] = do(i)
		})
	}
	wg.Wait()
	return errs
}

// reason says in one line why an environment could not be read.
func reason(err error) string {
	if r := (*gitops.Refusal)(nil); errors.As(err, &r) {
		return r.Reason
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "It did not answer in time."
	}
	return "It could not be read."
}

// identity is what makes an application the same in several environments. The namespace counts only where one
// environment has the name twice: podinfo-stage/podinfo and podinfo-prod/podinfo are the same application.
type identity struct{ kind, namespace, name string }

func identities(all []observed) func(gitops.Application) identity {
	twice := map[identity]bool{}
	for _, o := range all {
		count := map[identity]int{}
		for _, a := range o.apps {
			id := identity{kind: a.Kind, name: a.Name}
			if count[id]++; count[id] > 1 {
				twice[id] = true
			}
		}
	}
	return func(a gitops.Application) identity {
		id := identity{kind: a.Kind, name: a.Name}
		if twice[id] {
			id.namespace = a.Namespace
		}
		return id
	}
}

// List answers list [APPLICATION]: what runs in every environment, side by side. Environments that cannot be read are
// named with their reason. It fails only where no environment has the application.
func List(ctx context.Context, fleet Fleet, request gitops.List) (Listing, error) {
	listing := Listing{Application: request.Application, Rows: []ListRow{}}
	all := observe(ctx, fleet, fleet.Environments())
	of := identities(all)
	rows := map[identity]*ListRow{}
	for _, o := range all {
		if o.err != nil {
			listing.Unreachable = append(listing.Unreachable, Unanswered{o.environment, reason(o.err)})
			continue
		}
		listing.Environments = append(listing.Environments, o.environment)
	}
	for i, e := range listing.Environments {
		j := slices.IndexFunc(all, func(o observed) bool { return o.environment == e })
		for _, a := range all[j].apps {
			if request.Application != "" && !named(a, request.Application) && !slices.Contains(a.Aliases(), request.Application) {
				continue
			}
			id := of(a)
			if rows[id] == nil {
				rows[id] = &ListRow{Name: a.Name, Namespace: a.Namespace, Kind: a.Kind, Cells: make([]Cell, len(listing.Environments))}
			}
			rows[id].Cells[i] = cell(a)
		}
	}
	for id, r := range rows {
		if id.namespace != "" {
			r.Name = id.namespace + "/" + id.name
		}
		for other := range rows {
			if other != id && other.name == id.name && other.kind != id.kind {
				r.Name = r.Kind + "/" + r.Namespace + "/" + id.name
			}
		}
		listing.Rows = append(listing.Rows, *r)
	}
	slices.SortFunc(listing.Rows, func(a, b ListRow) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind))
	})
	if request.Application != "" && len(rows) == 0 {
		if len(listing.Environments) == 0 {
			return listing, nil
		}
		var apps []gitops.Application
		for _, o := range all {
			apps = append(apps, o.apps...)
		}
		slices.SortFunc(apps, func(a, b gitops.Application) int { return a.Compare(b.Key) })
		refusal := unknown(apps, listing.Environments, request.Application, func(name string) string { return gitops.Line(gitops.List{Application: name}) })
		for _, u := range listing.Unreachable {
			refusal.Details = append(refusal.Details, fmt.Sprintf("%s gave no answer: %s", u.Environment, u.Reason))
		}
		return Listing{}, refusal
	}
	return listing, nil
}

func cell(a gitops.Application) Cell {
	c := Cell{Present: true, Namespace: a.Namespace, Version: "-", Health: a.Health}
	if v, ok := a.Release(); ok {
		c.Version, c.Kind = cmp.Or(v.Value, "-"), v.Kind
		if v.Desired != "" && !gitops.SameVersion(v.Desired, v.Value) {
			c.Desired = v.Desired
		}
	} else if len(a.Versions) > 0 {
		c.Version = several(a)
	}
	if a.Health != gitops.Ready {
		c.Reason, c.Message = a.Reason, sentence(a.Message)
	}
	return c
}

// several names the versions among which a user has to choose: "chart 4.0.0, web 1.4.2".
func several(a gitops.Application) string {
	var all []string
	for _, v := range a.Versions {
		name := "chart"
		if v.Kind == gitops.ImageTag {
			name = a.Option(v)
		}
		if !v.Init {
			all = append(all, name+" "+cmp.Or(v.Value, v.Desired, "-"))
		}
	}
	return strings.Join(all, ", ")
}

// sentence cuts a sentence of a cluster's to what fits into a line of a list.
func sentence(s string) string {
	const most = 160
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}
