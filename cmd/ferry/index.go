package main

import (
	"context"

	"github.com/ferry-chatops/ferry/internal/localhost"
)

type index struct {
	Build buildIndex `cmd:"" help:"Write the index of built plugins. The ones for this platform are started to ask what they are."`
}

type buildIndex struct {
	Binaries string `required:"" type:"existingdir" placeholder:"DIR" help:"Directory of files named TYPE_NAME_OS_ARCH."`
	URLBase  string `required:"" name:"url-base" placeholder:"URL" help:"Where the files of that directory will be found."`
	Output   string `required:"" type:"path" placeholder:"FILE" help:"The file to write."`
}

// Run writes the index.
func (b buildIndex) Run(ctx context.Context) error {
	return localhost.WriteIndex(ctx, b.Binaries, b.URLBase, b.Output)
}
