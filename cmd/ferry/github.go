package main

import (
	"errors"

	"github.com/cli/go-gh/v2/pkg/auth"
)

// githubToken is the token that GitHub's command line tool uses for github.com.
func githubToken() (string, error) {
	token, _ := auth.TokenForHost("github.com")
	if token == "" {
		return "", errors.New("GitHub's command line tool has no token for github.com; log in with: gh auth login")
	}
	return token, nil
}
