// Command peers reads lists of pull requests as other programs do: with go-github alone, or with httpcache below it. It is
// a process of its own, so that what it takes of a machine is its own.
//
// It says with a line that it is ready. The first line of its input is a Job in JSON. Each line after that makes it read all
// lists once, which it says with a line, too.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/google/go-github/v60/github"
	"github.com/gregjones/httpcache"
)

// A Job says what to read.
type Job struct {
	API          string // root of the REST interface, with a slash at the end
	Token        string
	Repositories []string // OWNER/NAME
}

func main() {
	log.SetFlags(0)
	cached := flag.Bool("httpcache", false, "with httpcache, made to ask each time")
	flag.Parse()
	if err := run(context.Background(), *cached, os.Stdin, os.Stdout); err != nil {
		log.Fatalf("peers: %v", err)
	}
}

// asking makes httpcache ask GitHub whether what it has is still right, instead of taking it for right for a minute.
type asking struct{ next http.RoundTripper }

func (a asking) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Cache-Control", "max-age=0")
	return a.next.RoundTrip(r)
}

func run(ctx context.Context, cached bool, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	fmt.Fprintln(out, "ready")
	if !lines.Scan() {
		return fmt.Errorf("read the job: %w", lines.Err())
	}
	var job Job
	if err := json.Unmarshal(lines.Bytes(), &job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	transport := http.RoundTripper(http.DefaultTransport.(*http.Transport).Clone())
	if cached {
		cache := httpcache.NewMemoryCacheTransport()
		cache.Transport = transport
		transport = asking{cache}
	}
	client := github.NewClient(&http.Client{Transport: transport}).WithAuthToken(job.Token)
	base, err := url.Parse(job.API)
	if err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	client.BaseURL = base
	for lines.Scan() {
		for _, repository := range job.Repositories {
			if err := read(ctx, client, repository); err != nil {
				return err
			}
		}
		fmt.Fprintln(out, "done")
	}
	return lines.Err()
}

func read(ctx context.Context, client *github.Client, repository string) error {
	owner, name, _ := strings.Cut(repository, "/")
	_, _, err := client.PullRequests.List(ctx, owner, name, &github.PullRequestListOptions{
		State: "all", Sort: "updated", Direction: "desc", ListOptions: github.ListOptions{PerPage: 10},
	})
	if err != nil {
		return fmt.Errorf("list pull requests of %s: %w", repository, err)
	}
	return nil
}
