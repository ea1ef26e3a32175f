package localhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/kubeshop/botkube/pkg/api"
	"github.com/kubeshop/botkube/pkg/api/source"
)

// restartPause is how long a source that ended is left alone.
const restartPause = time.Second

// Events are what ferry's source plugin says.
type Events struct {
	// C has the messages. It is never closed.
	C <-chan Answer

	stop context.CancelFunc
	done sync.WaitGroup
}

// Follow finds the source plugin, starts it as Botkube does, and gives what it says. A plugin that ends is started again,
// as there. Of the options, those of a question do not count, but for TextOnly; Configs are the source's. The caller closes the Events.
func Follow(ctx context.Context, options Options, name string) (*Events, error) {
	cache, err := os.MkdirTemp("", "ferry-plugin-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for downloads: %w", err)
	}
	binary, err := locate(ctx, sourceType, options.Plugins, cache)
	if err != nil {
		os.RemoveAll(cache)
		return nil, err
	}
	messages := make(chan Answer)
	ctx, stop := context.WithCancel(ctx)
	e := &Events{C: messages, stop: stop}
	e.done.Go(func() {
		defer os.RemoveAll(cache)
		for ctx.Err() == nil {
			if err := follow(ctx, options, binary, name, messages); err != nil && ctx.Err() == nil {
				fmt.Fprintln(options.Log, "source:", err)
			}
			timer := time.NewTimer(restartPause)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		}
	})
	return e, nil
}

// Close ends the plugin.
func (e *Events) Close() {
	e.stop()
	e.done.Wait()
}

// follow runs the plugin until it ends or ctx does.
func follow(ctx context.Context, options Options, binary, name string, messages chan<- Answer) error {
	plugin, err := launch(options, sourceType, binary)
	if err != nil {
		return err
	}
	defer plugin.client.Kill()
	connection, ok := plugin.protocol.(*goplugin.GRPCClient)
	if !ok {
		return errors.New("the plugin does not speak gRPC")
	}
	// Botkube's own client would write to the terminal when the stream ends.
	request := &source.StreamRequest{Context: &source.StreamContext{KubeConfig: options.Kubeconfig, SourceContext: &source.SourceContext{SourceName: name, IsInteractivitySupported: !options.TextOnly}}}
	for _, config := range options.Configs {
		request.Configs = append(request.Configs, &source.Config{RawYAML: config})
	}
	stream, err := source.NewSourceClient(connection.Conn).Stream(ctx, request)
	if err != nil {
		return fmt.Errorf("open a stream: %w", err)
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("read the stream: %w%s", err, plugin.lastWords())
		}
		var event source.Event
		if err := json.Unmarshal(response.Event, &event); err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		if event.Message.IsEmpty() {
			continue
		}
		select {
		case messages <- Answer{Messages: []api.Message{event.Message}, TextOnly: options.TextOnly}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
