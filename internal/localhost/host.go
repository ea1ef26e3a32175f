// Package localhost is a Botkube host for one terminal: it starts ferry's executor plugin as Botkube does and shows its
// messages as text, with numbers in place of buttons.
package localhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/kubeshop/botkube/pkg/api"
	"github.com/kubeshop/botkube/pkg/api/executor"
	"github.com/kubeshop/botkube/pkg/api/source"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The types of plugins.
const (
	executorType = "executor"
	sourceType   = "source"
)

// pluginName is also the first word of its commands.
const pluginName = "ferry"

// Options say what to start and what the plugin is told with every line.
type Options struct {
	// Plugins is a directory with plugin binaries and, if it was written, their index.yaml; or the path or URL of an index.
	Plugins string
	// Environment holds further variables for the plugin, as NAME=value. It gets few besides: a plugin should not depend
	// on what happens to be set in a shell.
	Environment []string
	// Log takes what the plugin writes to its standard error.
	Log io.Writer

	Configs     [][]byte // a YAML document for each configuration group
	Kubeconfig  []byte
	Mention     string // the user as a chat platform mentions one: "<@U024BE7LH>"
	DisplayName string // the user's name
	TextOnly    bool   // as on a platform without buttons
}

// A Host runs the executor plugin for one user.
type Host struct {
	options Options
	binary  string
	cache   string // of downloads; removed in the end

	mu     sync.Mutex // of what follows
	closed bool
	plugin *process // nil before the first line and after the plugin was given up
}

// Start finds the executor in the index, proves that the binary is the one meant, and starts it.
func Start(ctx context.Context, options Options) (*Host, error) {
	cache, err := os.MkdirTemp("", "ferry-plugin-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for downloads: %w", err)
	}
	host := &Host{options: options, cache: cache}
	if host.binary, err = locate(ctx, executorType, options.Plugins, cache); err == nil {
		_, err = host.running()
	}
	if err != nil {
		host.Close()
		return nil, err
	}
	return host, nil
}

// locate gives the path of the plugin of a type for this platform. A directory without an index gets one in passing.
func locate(ctx context.Context, kind, plugins, cache string) (string, error) {
	location := plugins
	var index Index
	if path := localPath(plugins); path != "" {
		stat, err := os.Stat(path)
		if err != nil {
			return "", fmt.Errorf("look for plugins: %w", err)
		}
		if stat.IsDir() {
			location = filepath.Join(path, "index.yaml")
			if !exists(location) {
				if index, err = buildIndex(ctx, path, "file:///"); err != nil {
					return "", err
				}
			}
		}
	}
	if index.Entries == nil {
		var err error
		if index, err = readIndex(ctx, location); err != nil {
			return "", err
		}
	}
	binary, err := index.binary(kind, pluginName)
	if err != nil {
		return "", err
	}
	return fetch(ctx, location, binary, cache)
}

// Execute gives the plugin's answer to a line; several lines can be asked at a time. A plugin that ended since the last
// line is started again. One that ends while it answers is not asked a second time, for it may have done half of what was
// asked.
func (h *Host) Execute(ctx context.Context, line string) (Answer, error) {
	h.mu.Lock()
	plugin, err := h.running()
	h.mu.Unlock()
	if err != nil {
		return Answer{}, err
	}
	in := executor.ExecuteInput{
		Command: line,
		Context: executor.ExecuteInputContext{
			IsInteractivitySupported: !h.options.TextOnly,
			KubeConfig:               h.options.Kubeconfig,
			Message:                  executor.Message{User: executor.User{Mention: h.options.Mention, DisplayName: h.options.DisplayName}},
		},
	}
	for _, config := range h.options.Configs {
		in.Configs = append(in.Configs, &executor.Config{RawYAML: config})
	}
	out, err := plugin.executor.Execute(ctx, in)
	switch {
	case ctx.Err() != nil:
		return Answer{}, ctx.Err()
	case status.Code(err) == codes.Unavailable:
		h.giveUp(plugin)
		return Answer{}, fmt.Errorf("the plugin ended while it answered and is started again for the next line; look whether the line was carried out before repeating it%s", plugin.lastWords())
	case err != nil:
		return Answer{}, fmt.Errorf("execute %q: %w", line, err)
	}
	return Answer{Messages: append([]api.Message{out.Message}, out.Messages...), TextOnly: h.options.TextOnly}, nil
}

// Close ends the plugin for good; a line that comes late gets an error.
func (h *Host) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.stop()
	os.RemoveAll(h.cache)
}

// running gives the plugin's process, started anew if it does not answer.
func (h *Host) running() (*process, error) {
	if h.closed {
		return nil, errors.New("the plugin has been ended")
	}
	if h.plugin != nil {
		if h.plugin.protocol.Ping() == nil {
			return h.plugin, nil
		}
		h.stop()
	}
	started, err := launch(h.options, executorType, h.binary)
	if err != nil {
		return nil, err
	}
	h.plugin = started
	return started, nil
}

// giveUp stops a process, unless another has taken its place.
func (h *Host) giveUp(plugin *process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.plugin == plugin {
		h.stop()
	}
}

func (h *Host) stop() {
	if h.plugin != nil {
		h.plugin.client.Kill()
		h.plugin = nil
	}
}

// A process is a plugin that runs.
type process struct {
	client   *goplugin.Client
	protocol goplugin.ClientProtocol
	executor executor.Executor // of an executor
	metadata func(context.Context) (api.MetadataOutput, error)
	stderr   *tail
}

// launch starts a binary with the handshake, protocol and transport of Botkube.
func launch(options Options, kind, binary string) (*process, error) {
	command := exec.Command(binary)
	command.Env = append(environment(), options.Environment...)
	stderr := &tail{next: options.Log}
	client := goplugin.NewClient(&goplugin.ClientConfig{
		Cmd:              command,
		SkipHostEnv:      true,
		Plugins:          goplugin.PluginSet{executorType: &executor.Plugin{}, sourceType: &source.Plugin{}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion:  executor.ProtocolVersion,
			MagicCookieKey:   api.HandshakeConfig.MagicCookieKey,
			MagicCookieValue: api.HandshakeConfig.MagicCookieValue,
		},
		Logger: hclog.NewNullLogger(),
		// Before it serves a plugin writes here itself, as its runtime does in the end; between, go-plugin carries it over.
		Stderr:     stderr,
		SyncStderr: stderr,
	})
	started := &process{client: client, stderr: stderr}
	var err error
	if started.protocol, err = client.Client(); err == nil {
		err = started.dispense(kind)
	}
	if err != nil {
		client.Kill()
		return nil, fmt.Errorf("start plugin %s: %w%s", filepath.Base(binary), err, started.lastWords())
	}
	return started, nil
}

func (p *process) dispense(kind string) error {
	remote, err := p.protocol.Dispense(kind)
	if err != nil {
		return err
	}
	switch remote := remote.(type) {
	case executor.Executor:
		p.executor, p.metadata = remote, remote.Metadata
	case source.Source:
		p.metadata = remote.Metadata
	default:
		return errors.New("it is no plugin of type " + kind)
	}
	return nil
}

// lastWords is the line in which a process that ended says why, to be put behind an error's text: a panic's, or else the
// last one that is no record of a log.
func (p *process) lastWords() string {
	var last string
	for line := range strings.Lines(p.stderr.String()) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "{") {
			continue
		}
		last = line
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			break
		}
	}
	if last == "" {
		return ""
	}
	return "; it wrote: " + last
}

// metadata starts a plugin only to ask what it is.
func metadata(ctx context.Context, kind, binary string) (api.MetadataOutput, error) {
	plugin, err := launch(Options{Log: io.Discard}, kind, binary)
	if err != nil {
		return api.MetadataOutput{}, err
	}
	defer plugin.client.Kill()
	return plugin.metadata(ctx)
}

// environment is what a plugin gets of the environment: where to find and keep files, and how to reach the network.
func environment() []string {
	var out []string
	for _, name := range []string{
		"HOME", "USER", "PATH", "TMPDIR", "TZ", "XDG_CACHE_HOME",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy",
	} {
		if value, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+value)
		}
	}
	return out
}

// A tail passes on what is written and keeps the end of it.
type tail struct {
	next io.Writer

	mu   sync.Mutex
	kept []byte
}

// maxTail is how much is kept, in bytes.
const maxTail = 64 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	t.kept = append(t.kept, p...)
	t.kept = t.kept[max(0, len(t.kept)-maxTail):]
	t.mu.Unlock()
	return t.next.Write(p)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
