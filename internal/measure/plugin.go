package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/kubeshop/botkube/pkg/api"
	"github.com/kubeshop/botkube/pkg/api/source"

	"github.com/ferry-chatops/ferry/internal/githubtest"
	"github.com/ferry-chatops/ferry/internal/githubtest/control"
)

// A plugin is the built source plugin, started as Botkube starts it, with a stream that is recorded.
type plugin struct {
	binary, config string
	log            io.Writer
	clock          clock

	cmd      *exec.Cmd
	client   *goplugin.Client
	protocol goplugin.ClientProtocol
	source   source.Source
	reader   sync.WaitGroup

	mu    sync.Mutex
	told  []githubtest.Told
	other []string // what messages are that are about no pull request, in JSON
	odd   error    // what came out of the stream and should not
}

// A clock is the stand-in's, seen from here.
type clock struct {
	at     time.Time // on it
	seen   time.Time
	factor float64
}

func (c clock) now() time.Time {
	return c.at.Add(time.Duration(float64(time.Since(c.seen)) * c.factor))
}

// real is how long d of the stand-in's clock takes.
func (c clock) real(d time.Duration) time.Duration { return time.Duration(float64(d) / c.factor) }

// follow says what the source is to follow.
type follow struct {
	dir      string // for its state and its credential
	cache    string // folder for answers; empty: they are kept in memory
	factor   float64
	interval time.Duration
	app      bool   // as a GitHub App, not by a token
	paths    string // a pattern that one of the files of a pull request has to match; empty: any
	more     string // YAML below repositories
}

// configuration is the YAML of it; the credential's file is written.
func (f follow) configuration(hub control.Ready) (string, error) {
	credential, secret := "tokenFile: "+filepath.Join(f.dir, "token"), hub.Token
	if f.app {
		credential, secret = fmt.Sprintf("app: {id: %d, installationID: %d, keyFile: %s}", hub.App, hub.Installation, filepath.Join(f.dir, "token")), hub.Key
	}
	if err := os.WriteFile(filepath.Join(f.dir, "token"), []byte(secret), 0o600); err != nil {
		return "", err
	}
	if f.cache != "" {
		if err := os.MkdirAll(f.cache, 0o700); err != nil {
			return "", err
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "github:\n  baseURL: %s\n  auth: {%s}\n", strings.TrimSuffix(hub.API, "/api/v3/"), credential)
	fmt.Fprintf(&b, "interval: %s\nstateDir: %s\ncacheDir: %q\n", f.interval, filepath.Join(f.dir, "state"), f.cache)
	fmt.Fprintf(&b, "budget: {factor: %g}\nrepositories:\n", f.factor)
	paths := ""
	if f.paths != "" {
		paths = fmt.Sprintf(", paths: {include: [%q]}", f.paths)
	}
	for _, name := range hub.Repositories {
		fmt.Fprintf(&b, "- {name: %s, on: {pullRequests: [{types: [opened, reopened, synchronize, ready, labelled, unlabelled, retargeted, closed, merged]%s}]}}\n", name, paths)
	}
	return b.String() + f.more, nil
}

// start runs the plugin and opens its stream.
func (p *plugin) start() error {
	if err := p.run(); err != nil {
		return err
	}
	return p.open()
}

// run runs the plugin, which does nothing without a stream.
func (p *plugin) run() error {
	p.cmd = exec.Command(p.binary)
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	p.client = goplugin.NewClient(&goplugin.ClientConfig{
		Cmd: p.cmd, SkipHostEnv: true, AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC}, Logger: hclog.NewNullLogger(),
		Plugins: goplugin.PluginSet{"source": &source.Plugin{}}, Stderr: p.log, SyncStderr: p.log,
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: source.ProtocolVersion, MagicCookieKey: api.HandshakeConfig.MagicCookieKey, MagicCookieValue: api.HandshakeConfig.MagicCookieValue,
		},
	})
	protocol, err := p.client.Client()
	if err != nil {
		return fmt.Errorf("start the source plugin: %w", err)
	}
	raw, err := protocol.Dispense("source")
	if err != nil {
		return fmt.Errorf("start the source plugin: %w", err)
	}
	p.source = raw.(source.Source)
	p.protocol = protocol
	return nil
}

// open opens the stream.
func (p *plugin) open() error {
	// Botkube's own client would not say when a stream has ended, and with it everything that was handed over.
	connected, ok := p.protocol.(*goplugin.GRPCClient)
	if !ok {
		return fmt.Errorf("start the source plugin: its protocol is %T", p.protocol)
	}
	stream, err := source.NewSourceClient(connected.Conn).Stream(context.Background(), &source.StreamRequest{
		Configs: []*source.Config{{RawYAML: []byte(p.config)}},
		Context: &source.StreamContext{SourceContext: &source.SourceContext{SourceName: "measure", IsInteractivitySupported: true}},
	})
	if err != nil {
		return fmt.Errorf("open the stream: %w", err)
	}
	p.reader.Go(func() {
		for {
			answer, err := stream.Recv()
			if err != nil {
				return
			}
			p.record(answer.GetEvent())
		}
	})
	return nil
}

// record notes a message by its event key.
func (p *plugin) record(raw []byte) {
	var e struct{ RawObject json.RawMessage }
	var event struct{ Key string }
	err := json.Unmarshal(raw, &e)
	if err == nil {
		err = json.Unmarshal(e.RawObject, &event)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil:
		p.odd = errors.Join(p.odd, err)
	case strings.Contains(event.Key, "#"):
		p.told = append(p.told, githubtest.Told{Key: event.Key, At: p.clock.now()})
	default:
		p.other = append(p.other, string(e.RawObject))
	}
}

// count is how many messages there were.
func (p *plugin) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.told)
}

// kill ends the process as kill -9 does. What it handed over before is recorded.
func (p *plugin) kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill the source plugin: %w", err)
	}
	p.reader.Wait() // the stream ends with the process
	p.client.Kill() // only forgets it
	return nil
}

// hint hands a webhook's body to the plugin.
func (p *plugin) hint(ctx context.Context, body []byte) error {
	in := source.ExternalRequestInput{Payload: body, Config: &source.Config{RawYAML: []byte(p.config)}}
	in.Context.SourceName, in.Context.IsInteractivitySupported = "measure", true
	_, err := p.source.HandleExternalRequest(ctx, in)
	return err
}
