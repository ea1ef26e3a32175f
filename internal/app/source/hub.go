package source

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/ferry-chatops/ferry/internal/app/config"
	"github.com/ferry-chatops/ferry/internal/github"
	"github.com/ferry-chatops/ferry/internal/watch"
)

// A hub is GitHub, with what it tells of its accounts.
type hub interface {
	watch.GitHub
	Status() github.Status
}

func openHub(c config.Source, accounts []github.Account, log *slog.Logger) (hub, error) {
	return github.NewReader(github.ReaderConfig{BaseURL: c.GitHub.BaseURL, Accounts: accounts, CacheDir: c.CacheDir, Factor: c.Budget.Factor}, log)
}

// accounts are those of a configuration: one for each credential.
func accounts(c config.SourceGitHub, secret config.ReadSecret) []github.Account {
	all := []github.Account{account(c.Auth, nil, secret)}
	for _, o := range c.Owners {
		all = append(all, account(o.Auth, []string{o.Owner}, secret))
	}
	return all
}

func account(a config.Auth, owners []string, secret config.ReadSecret) github.Account {
	out := github.Account{Name: "token", Owners: owners, Token: func(ctx context.Context) (string, error) { return a.Token(ctx, secret) }}
	if app := a.App; app != nil {
		out.Name = fmt.Sprintf("App %d", app.ID)
		out.App = &github.App{ID: app.ID, InstallationID: app.InstallationID, Key: func(ctx context.Context) ([]byte, error) { return app.Key(ctx, secret) }}
	}
	for _, o := range owners {
		out.Name += " for " + o
	}
	return out
}
