// Command executor_ferry is the Botkube executor plugin.
package main

import (
	"fmt"
	"log/slog"
	"os"

	app "github.com/ferry-chatops/ferry/internal/app/executor"
	"github.com/ferry-chatops/ferry/internal/plugin/executor"
	"github.com/ferry-chatops/ferry/internal/plugin/hostlog"
)

// version is set by the linker.
var version = "v0.0.0-dev"

func main() {
	log := hostlog.New(os.Stderr, slog.LevelDebug)
	about, err := app.About(version)
	if err == nil {
		var responder *app.Responder
		if responder, err = app.New(log); err == nil {
			defer responder.Close() //nolint:errcheck // a temporary directory, at the end of the process
			executor.Serve(executor.New(responder, about, log))
			return
		}
	}
	fmt.Fprintln(os.Stderr, "ferry:", err)
	os.Exit(1)
}
