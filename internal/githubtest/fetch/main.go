// Command fetch takes GitHub's API descriptions, and its examples of webhooks, from npm into the cache of the test environment,
// once, and cuts them to what is used. Package contract reads them there.
package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/ferry-chatops/ferry/internal/githubtest/contract"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		log.Fatalf("fetch GitHub's API descriptions: %v", err)
	}
}

func run(ctx context.Context) error {
	openAPI, sdl, err := contract.Files()
	if err != nil {
		return err
	}
	webhooks, err := contract.WebhooksFile()
	if err != nil {
		return err
	}
	if err := provide(ctx, webhooks, contract.Webhooks, contract.CutWebhooks); err != nil {
		return err
	}
	if err := provide(ctx, openAPI, contract.OpenAPI, contract.Cut); err != nil {
		return err
	}
	return provide(ctx, sdl, contract.SDL, func(raw []byte) ([]byte, error) { return raw, nil })
}

// provide makes file from a member of an npm package, unless it is there.
func provide(ctx context.Context, file string, source contract.Source, change func([]byte) ([]byte, error)) error {
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	name := source.Package + "@" + source.Version
	log.Printf("fetching %s", name)
	raw, err := member(ctx, source)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != source.SHA256 {
		return fmt.Errorf("%s: %s has SHA-256 %x, expected %s", name, source.Member, sum, source.SHA256)
	}
	cut, err := change(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(file), "fetch-") // beside it, then renamed: nobody reads half a file
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(cut)
	if err := errors.Join(err, temp.Chmod(0o644), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), file)
}

// member packs the npm package, which npm verifies against the registry's digest, and returns one file of it.
func member(ctx context.Context, source contract.Source) ([]byte, error) {
	dir, err := os.MkdirTemp("", "ferry-fetch-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", "--ignore-scripts", source.Package+"@"+source.Version)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("npm pack: %w", err)
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return nil, fmt.Errorf("npm pack left %d archives, not one", len(archives))
	}
	file, err := os.Open(archives[0])
	if err != nil {
		return nil, err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("unpack: %s is not in the archive", source.Member)
		}
		if err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		if header.Name == source.Member {
			return io.ReadAll(io.LimitReader(archive, 64<<20))
		}
	}
}
