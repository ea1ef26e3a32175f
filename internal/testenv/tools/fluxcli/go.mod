// The command line of Flux 2.7.3. Its checksum is all that is wanted here: the program is built in a copy of its module,
// with the versions that its own go.mod and go.sum name.
module github.com/ferry-chatops/ferry/internal/testenv/tools/fluxcli

go 1.25.0

require github.com/fluxcd/flux2/v2 v2.7.3
