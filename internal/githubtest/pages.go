package githubtest

import (
	"fmt"
	"net/http"
	"strconv"
)

// pages serves what links in chat lead to, as text: a commit with its diff, and a pull request.
func (s *Server) pages(mux *http.ServeMux) {
	page := func(content func(r *repository, id string) (string, error)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			repo, err := s.repository(r.PathValue("owner") + "/" + r.PathValue("repo"))
			var text string
			if err == nil {
				text, err = content(repo, r.PathValue("id"))
			}
			if err != nil || !s.anonymousGit {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte(text)) // a reader that went away
		}
	}
	mux.HandleFunc("GET /{owner}/{repo}/commit/{id}", page(func(r *repository, id string) (string, error) {
		sha, err := r.object(id, "commit")
		if err != nil {
			return "", err
		}
		return r.git("show", "--format=fuller", sha)
	}))
	mux.HandleFunc("GET /{owner}/{repo}/pull/{id}", page(func(r *repository, id string) (string, error) {
		number, err := strconv.Atoi(id)
		if err != nil {
			return "", err
		}
		p := r.pull(number)
		if p == nil {
			return "", fmt.Errorf("no pull request %d", number)
		}
		state := p.state
		if p.mergeCommit != "" {
			state = "merged"
		}
		return fmt.Sprintf("#%d %s (%s)\n%s wants to merge %s into %s\n\n%s", p.number, p.title, state, p.author, p.head, p.base, p.body), nil
	}))
}
