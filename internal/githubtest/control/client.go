package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Ready is what the program of package hub prints when it serves: where, and with which credentials.
type Ready struct {
	API     string // root of the REST interface, with a slash at the end
	Control string // root of this package's paths, without one
	Token   string // of the account ferry-bot, for all repositories
	// An App of the same reach, with its private key, PKCS #1 in PEM.
	App, Installation int64
	Key               string
	Repositories      []string // made up
}

// A Process is a stand-in that runs on its own.
type Process struct {
	Ready
	cmd   *exec.Cmd
	stdin io.Closer
}

// Start starts the program of package hub, with its flags. It ends with Stop, or with this process.
func Start(ctx context.Context, program string, flags ...string) (*Process, error) {
	cmd := exec.CommandContext(ctx, program, append([]string{"-attached"}, flags...)...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the GitHub stand-in: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the GitHub stand-in: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the GitHub stand-in: %w", err)
	}
	p := &Process{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &p.Ready)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the GitHub stand-in: it does not say where it serves: %w", err), p.Stop())
	}
	return p, nil
}

// Stop ends the process.
func (p *Process) Stop() error {
	_ = p.stdin.Close() // tells it to end
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("stop the GitHub stand-in: %w", err)
	}
	return nil
}

// Call asks one path: POST with in as its body, or another method without one. Out is where the answer goes, if it is not nil.
func (r Ready) Call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("ask the GitHub stand-in: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, r.Control+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask the GitHub stand-in: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask the GitHub stand-in: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000)) // of an error that is told anyway
		return fmt.Errorf("ask the GitHub stand-in: %s %s: %s: %s", method, path, answer.Status, strings.TrimSpace(string(text)))
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(answer.Body).Decode(out); err != nil {
		return fmt.Errorf("ask the GitHub stand-in: %s %s: %w", method, path, err)
	}
	return nil
}
