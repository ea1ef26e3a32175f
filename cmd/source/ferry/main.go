// Command source_ferry is the Botkube source plugin.
package main

import (
	"fmt"
	"os"

	"github.com/ferry-chatops/ferry/internal/app/source"
)

// version is set by the linker.
var version = "v0.0.0-dev"

func main() {
	if err := source.Serve(version, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "ferry:", err)
		os.Exit(1)
	}
}
