package operation

import (
	"context"
	"fmt"
	"io/fs"
	"slices"

	"github.com/ferry-chatops/ferry/internal/layout"
)

// A Root is the directory of a repository that Flux applies in an environment.
type Root struct{ Environment, Path string }

// A Reach says what changed files reach in the tree of one commit.
type Reach struct{ tree *layout.Tree }

// NewReach is that of the files of a commit.
func NewReach(files fs.FS) Reach { return Reach{layout.Open(files)} }

// Of names the environments that read one of some files, and the applications that those are about, each once; those are
// sorted. Nothing is rendered but what leads from one of Flux's Kustomizations to another.
func (r Reach) Of(ctx context.Context, places []Root, files []string) (environments, applications []string, err error) {
	for _, p := range places {
		env, err := r.tree.Root(ctx, p.Path, p.Environment)
		if err != nil {
			return nil, nil, fmt.Errorf("look into %s: %w", p.Path, err)
		}
		names, touched, err := r.tree.Touches(ctx, env, files)
		if err != nil {
			return nil, nil, fmt.Errorf("look what %s reads: %w", p.Path, err)
		}
		if touched {
			environments = append(environments, p.Environment)
			applications = append(applications, names...)
		}
	}
	slices.Sort(applications)
	return environments, slices.Compact(applications), nil
}
