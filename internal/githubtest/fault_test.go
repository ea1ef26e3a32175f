package githubtest_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/ferry-chatops/ferry/internal/githubtest"
)

func TestFaultInsteadOfTheWrite(t *testing.T) {
	r := start(t)
	r.hub.Fail(githubtest.Fault{
		Method: "POST", Path: "/repos/*/git/refs", Status: 429, Header: http.Header{"Retry-After": {"60"}}, Times: 2,
		Body: `{"message":"You have exceeded a secondary rate limit."}`,
	})
	ref := &github.Reference{Ref: github.String("refs/heads/new"), Object: &github.GitObject{SHA: &r.sha}}
	for range 2 {
		_, answer, err := r.gh.Git.CreateRef(t.Context(), "acme", "fleet", ref)
		r.refused(err, 429, "secondary rate limit")
		if answer.Header.Get("Retry-After") != "60" {
			t.Errorf("headers %v", answer.Header)
		}
	}
	if _, _, err := r.gh.Git.CreateRef(t.Context(), "acme", "fleet", ref); err != nil {
		t.Errorf("after the fault: %v", err)
	}
}

func TestFaultAfterTheWrite(t *testing.T) {
	for name, fault := range map[string]githubtest.Fault{
		"502":     {Mutation: "createCommitOnBranch", Apply: true, Status: 502, Body: "<html>Bad gateway</html>"},
		"dropped": {Mutation: "createCommitOnBranch", Apply: true, Drop: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.hub.Fail(fault)
			request, err := r.gh.NewRequest("POST", strings.Replace(r.hub.APIURL(), "/v3/", "/graphql", 1), map[string]any{
				"query": commitDocument, "variables": input("main", r.sha, "Promote", map[string]string{"a": "1"})})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.gh.Do(t.Context(), request, nil); err == nil {
				t.Error("no error")
			}
			if r.head("main") == r.sha {
				t.Error("the write was not applied")
			}
			last := r.hub.Requests()[0]
			if last.Status != fault.Status || len(last.Fields) != 1 || last.Fields[0] != "createCommitOnBranch" {
				t.Errorf("logged %v", last)
			}
		})
	}
}

func TestFaultDelays(t *testing.T) {
	r := start(t)
	r.hub.Fail(githubtest.Fault{Path: "/repos/*/pulls", Method: "POST", Delay: time.Hour, Apply: true})
	r.commit("feature", "a", "1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { cancel() }})
	create := &github.NewPullRequest{Title: github.String("x"), Head: github.String("feature"), Base: github.String("main")}
	if _, _, err := r.gh.PullRequests.Create(ctx, "acme", "fleet", create); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	for tick := time.Tick(time.Millisecond); len(r.hub.Requests()) == 0; {
		<-tick // the stand-in has not noticed yet that the client went away
	}
	if p, _, err := r.gh.PullRequests.Get(t.Context(), "acme", "fleet", 1); err != nil || p.GetTitle() != "x" {
		t.Errorf("applied: %v, %v", p, err)
	}
	r.hub.Fail(githubtest.Fault{Path: "/user", Delay: time.Millisecond})
	if u, _, err := r.gh.Users.Get(t.Context(), ""); err != nil || u.GetLogin() != "bot" {
		t.Errorf("late answer: %v, %v", u, err)
	}
}
