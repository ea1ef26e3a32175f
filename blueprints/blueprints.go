// Package blueprints holds the messages that ferry sends, one file each, and the schema of such files.
package blueprints

import "embed"

// Files are the blueprints and their schema.json.
//
//go:embed *.yaml schema.json
var Files embed.FS
