package main

import "github.com/ferry-chatops/ferry/internal/localhost"

var changeOptions = []string{
	"--reason TEXT", "--pr", "--chart", "--image NAME", "--field FILE:PATH", "--shared", "--pin", "--drop-digest", "--yes", "--confirm HASH", "--until UNIX", "--help",
}

// grammar is what the plugin of this version understands. A test holds it against the plugin's manual.
var grammar = localhost.Grammar{
	{Line: "list [APP]", Options: []string{"--help"}},
	{Line: "diff ENV [ENV]", Options: []string{"--help"}},
	{Line: "promote APP@VERSION to ENV", Options: changeOptions},
	{Line: "promote APP from ENV to ENV", Options: changeOptions},
	{Line: "rollback APP on ENV [to VERSION]", Options: changeOptions},
	{Line: "status [APP on ENV]", Options: []string{"--help"}},
	{Line: "check [ENV]", Options: []string{"--help"}},
	{Line: "help [VERB]"},
}
