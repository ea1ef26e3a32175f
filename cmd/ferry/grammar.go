package main

import (
	"slices"
	"strings"

	"github.com/ferry-chatops/ferry/internal/localhost"
)

var changeOptions = []string{
	"--reason TEXT", "--pr", "--chart", "--image NAME", "--field FILE:PATH", "--shared", "--override", "--pin", "--drop-digest", "--yes", "--confirm HASH", "--until UNIX", "--help",
}

// grammar is what the plugin of this version understands. A test holds it against the plugin's manual.
var grammar = localhost.Grammar{
	{Line: "list [APP]", Options: []string{"--help"}},
	{Line: "diff pr NUMBER|URL|BRANCH", Options: []string{"--repo OWNER/NAME", "--env ENV", "--help"}},
	{Line: "diff ENV [ENV]", Options: []string{"--help"}},
	{Line: "promote APP@VERSION to ENV", Options: changeOptions},
	{Line: "promote APP from ENV to ENV", Options: changeOptions},
	{Line: "rollback APP on ENV [to VERSION]", Options: changeOptions},
	{Line: "status [APP on ENV]", Options: []string{"--help"}},
	{Line: "status source", Options: []string{"--help"}},
	{Line: "check [ENV]", Options: []string{"--help"}},
	{Line: "help [VERB]"},
}

// forChat says whether a line of chat begins with the word, and no command here is called so.
func forChat(word string) bool {
	return word != "check" && slices.ContainsFunc(grammar, func(u localhost.Usage) bool {
		verb, _, _ := strings.Cut(u.Line, " ")
		return verb == word
	})
}
