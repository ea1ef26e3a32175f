package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/ferry-chatops/ferry/internal/app/config"
	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/watch"
)

// A hub is GitHub, with what it tells of its accounts.
type hub interface {
	watch.GitHub
	Status() github.Status
}

func openHub(c config.Source, accounts []github.Account, disk *github.Disk, log *slog.Logger) (hub, error) {
	return github.NewReader(github.ReaderConfig{BaseURL: c.GitHub.BaseURL, Accounts: accounts, Disk: disk, Factor: c.Budget.Factor}, log)
}

// openDisk opens the folder of the configuration for GitHub's answers, else one that comes without being asked for. The error
// is a Refusal, of the former; without a disk answers are kept in memory.
func openDisk(configured, otherwise string, log *slog.Logger) (*github.Disk, error) {
	if configured == "" && otherwise == "" {
		return nil, nil
	}
	disk, err := github.OpenDisk(cmp.Or(configured, otherwise))
	switch {
	case err == nil:
		return disk, nil
	case configured == "":
		log.Warn("GitHub's answers are kept in memory alone", "error", err)
		return nil, nil
	}
	return nil, &gitops.Refusal{Code: gitops.Config, Cause: err, Title: "The cacheDir of ferry's source is not used",
		Reason: fmt.Sprintf("GitHub's answers are kept in memory, so after a restart they are read anew. ferry could not %v. Name a folder that ferry can make or write to, and nobody else can.", err)}
}

// accounts are those of a configuration: one for each credential.
func accounts(c config.SourceGitHub, secret config.ReadSecret) []github.Account {
	all := []github.Account{account(c.Auth, nil, secret, "github.auth")}
	for i, o := range c.Owners {
		all = append(all, account(o.Auth, []string{o.Owner}, secret, fmt.Sprintf("github.owners[%d].auth", i)))
	}
	return all
}

// account is the one of a credential, whose refusals name its place in the configuration.
func account(a config.Auth, owners []string, secret config.ReadSecret, place string) github.Account {
	placed := func(err error) error {
		if refusal, ok := errors.AsType[*gitops.Refusal](err); ok {
			there := *refusal
			there.Reason = strings.ReplaceAll(there.Reason, "github.auth", place)
			return &there
		}
		return err
	}
	out := github.Account{Name: "token", Owners: owners, Token: func(ctx context.Context) (string, error) {
		token, err := a.Token(ctx, secret)
		return token, placed(err)
	}}
	if app := a.App; app != nil {
		out.Name = fmt.Sprintf("App %d", app.ID)
		out.App = &github.App{ID: app.ID, InstallationID: app.InstallationID, Key: func(ctx context.Context) ([]byte, error) {
			key, err := app.Key(ctx, secret)
			return key, placed(err)
		}}
	}
	for _, o := range owners {
		out.Name += " for " + o
	}
	return out
}
