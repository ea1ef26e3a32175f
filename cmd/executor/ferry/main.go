// Command executor_ferry is the Botkube executor plugin.
package main

import (
	"fmt"
	"os"

	"github.com/ferry-chatops/ferry/internal/app/executor"
)

// version is set by the linker.
var version = "v0.0.0-dev"

func main() {
	if err := executor.Serve(version, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "ferry:", err)
		os.Exit(1)
	}
}
