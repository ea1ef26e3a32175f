package promotion

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
)

// Access says who may change an environment.
func (s *Service) Access(environment string) gitops.Access {
	settings, _ := s.of(environment)
	return settings.Access
}

// of gives an environment's settings; false if there are none.
func (s *Service) of(environment string) (Settings, bool) {
	i := slices.Index(s.environments(), environment)
	if i < 0 {
		return Settings{}, false
	}
	return s.Settings[i], true
}

// Origins are the repositories and branches that the Kustomizations of an environment follow, each once in the order of
// the Kustomizations, and what is wrong with the others. A configured repository with its branch is one even if the
// cluster does not answer.
func (s *Service) Origins(ctx context.Context, environment string) (origins []operation.Origin, wrong []operation.Finding) {
	settings, ok := s.of(environment)
	if !ok {
		return nil, nil
	}
	all, err := s.Cluster.Kustomizations(ctx, environment)
	if err != nil {
		if settings.Repository != "" && settings.Branch != "" {
			return []operation.Origin{{Repository: settings.Repository, Branch: settings.Branch}}, []operation.Finding{{State: operation.Unknown,
				Text: fmt.Sprintf("Whether Flux follows the configured repository %s could not be read from Flux.", settings.Repository), Cause: operation.Unworded(err)}}
		}
		return nil, []operation.Finding{{State: operation.Unknown, Cause: operation.Unworded(err),
			Text: "Which repository it follows could not be read from Flux, so that was not looked at."}}
	}
	var tagged []string
	for _, k := range all {
		name, branch, ok := s.follows(k.Source, settings)
		origin := operation.Origin{Repository: name, Branch: branch}
		switch {
		case !ok || slices.Contains(origins, origin):
		case origin.Branch != "":
			origins = append(origins, origin)
		case !slices.Contains(tagged, k.Source.Object.String()):
			tagged = append(tagged, k.Source.Object.String())
			wrong = append(wrong, operation.Finding{State: operation.Mind,
				Text: fmt.Sprintf("%s follows a tag or a commit, not a branch: ferry cannot change what comes from it.", k.Source.Object)})
		}
	}
	if len(origins) == 0 && len(wrong) == 0 {
		f := operation.Finding{State: operation.Missing, Text: fmt.Sprintf("No Flux Kustomization follows a repository on %s: there is nothing that ferry could change.", s.Host)}
		if settings.Repository != "" {
			f.Text = fmt.Sprintf("No Flux Kustomization follows the configured repository %s: there is nothing that ferry could change.", settings.Repository)
		}
		wrong = append(wrong, f)
	}
	return origins, wrong
}

// Way says whether a change of the environment goes by commit or by pull request, as the plan of one would.
func (s *Service) Way(ctx context.Context, environment string, origin operation.Origin) operation.Finding {
	settings, _ := s.of(environment)
	repository, err := s.Repositories.Repository(origin.Repository)
	if err != nil {
		return failure(err)
	}
	p := place{repository: repository, name: origin.Repository, branch: origin.Branch}
	if settings.Mode == Commit {
		direct, rule, err := repository.Direct(ctx, origin.Branch)
		if err != nil {
			return failure(err)
		}
		if !direct {
			return operation.Finding{State: operation.Missing,
				Text: fmt.Sprintf("The configured mode of %s is commit, but the rule %s of %s forbids that. Write promotion: {mode: auto}.", environment, rule, origin.Branch)}
		}
	}
	_, how, err := s.mode(ctx, p, settings, false)
	if err != nil {
		return failure(err)
	}
	return operation.Finding{State: operation.Works, Text: environment + ": " + how}
}

// failure is that of finding out the way of a change. What is wrong with the repository is told elsewhere.
func failure(err error) operation.Finding {
	f := operation.Finding{State: operation.Unknown, Cause: operation.Unworded(err), Text: "Whether changes go by commit or by pull request could not be found out."}
	if r, ok := errors.AsType[*gitops.Refusal](err); ok {
		f.Text += " " + r.Reason
	}
	return f
}
