// Package hosttest runs what ferry built in the real host, Botkube v1.14.0: its plugin manager, its renderers and its
// reading of commands. It is a module of its own and requires nothing of ferry's, so that plugin and host have each their
// own versions of go-plugin and gRPC, as in a cluster. What is tested comes as files: the plugins and their index from
// FERRY_PLUGINS (default ../../bin), messages and commands as JSON from FERRY_MESSAGES (default ../../bin/messages), merged
// configurations from FERRY_CONFIGS (default ../../bin/configs). Those files lie outside the module, where go test does
// not look whether they changed: run it with -count=1.
package hosttest
