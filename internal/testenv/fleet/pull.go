package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
)

const (
	alice    = "demo-alice" // the token of somebody else on the stand-in
	pullFile = "apps/prod/podinfo.yaml"
)

var replicas = regexp.MustCompile(`replicaCount: [0-9]+`)

// OpenPullRequest opens one as alice, who wants more replicas of podinfo in prod. It returns its number.
func (f *Fleet) OpenPullRequest(ctx context.Context) (number int, err error) {
	f.opened++
	branch := fmt.Sprintf("podinfo-replicas-%d", f.opened)
	raw, err := exec.CommandContext(ctx, "git", "--git-dir", f.GitDir, "show", "main:"+pullFile).Output()
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", pullFile, err)
	}
	edited := replicas.ReplaceAllString(string(raw), fmt.Sprintf("replicaCount: %d", 3+f.opened))
	title := fmt.Sprintf("Run %d replicas of podinfo in prod", 3+f.opened)
	if _, err := f.Hub.Commit(Repository, branch, "alice", title, map[string]string{pullFile: edited}); err != nil {
		return 0, err
	}
	f.Hub.AddToken(alice, "alice")
	body, err := json.Marshal(map[string]string{"title": title, "head": branch, "base": "main", "body": "The queue is long."})
	if err != nil {
		return 0, fmt.Errorf("encode a pull request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.Hub.APIURL()+"repos/"+Repository+"/pulls", bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("open a pull request: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+alice)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("open a pull request: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return 0, fmt.Errorf("open a pull request: %w", err)
	}
	if response.StatusCode != http.StatusCreated {
		return 0, fmt.Errorf("open a pull request: %s %s", response.Status, strings.TrimSpace(string(answer)))
	}
	var opened struct{ Number int }
	if err := json.Unmarshal(answer, &opened); err != nil {
		return 0, fmt.Errorf("read the pull request: %w", err)
	}
	return opened.Number, nil
}
