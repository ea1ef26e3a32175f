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

// forChat says whether words are a line of chat, and none of the command here that is called so.
func forChat(words []string) bool {
	word := words[0]
	if word == "check" || word == "diff" && (len(words) == 1 || strings.HasPrefix(words[1], "-")) {
		return false
	}
	return slices.ContainsFunc(grammar, func(u localhost.Usage) bool {
		verb, _, _ := strings.Cut(u.Line, " ")
		return verb == word
	})
}
