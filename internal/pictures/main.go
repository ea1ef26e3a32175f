// Command pictures draws what the README shows of ferry, into .github: Slack's blocks as Botkube makes them of ferry's
// messages, which the tests of internal/hosttest keep in testdata; and the terminal, from a conversation with bin/ferry demo.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	pages  = "internal/pictures/testdata"
	github = ".github"
)

func main() {
	if err := draw(); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

// draw runs at the top of the repository.
func draw() error {
	files, err := filepath.Glob(filepath.Join(pages, "*.json"))
	if err != nil {
		return err
	}
	for _, file := range files {
		name, picture, err := slackPicture(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(github, name), picture, 0o644); err != nil {
			return fmt.Errorf("write a picture: %w", err)
		}
	}
	pictures, err := converse()
	if err != nil {
		return err
	}
	for name, picture := range pictures {
		if err := os.WriteFile(filepath.Join(github, name), picture, 0o644); err != nil {
			return fmt.Errorf("write a picture: %w", err)
		}
	}
	return nil
}

// slackPicture gives the picture of a file of testdata, and its name.
func slackPicture(file string) (string, []byte, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", nil, fmt.Errorf("read posts: %w", err)
	}
	name := strings.TrimSuffix(filepath.Base(file), ".json")
	picture, err := drawSlack(raw, "ferry in Slack: "+name)
	return "slack-" + name + ".svg", picture, err
}
