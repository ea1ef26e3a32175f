package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// Why a webhook is refused.
var (
	errNoWebhook    = errors.New("this is no webhook of GitHub's: write a JSON object, or a form with one as payload")
	errNoRepository = errors.New("this webhook names no repository: ferry reads repository.full_name, as OWNER/NAME, and nothing else")
)

// hinted reads the body of a webhook, JSON or a form with it as payload, and gives the repository that it is about. Nobody
// has proved who sent it, so nothing else in it is believed.
func hinted(body []byte) (string, error) {
	if form, ok := bytes.CutPrefix(bytes.TrimSpace(body), []byte("payload=")); ok {
		first, _, _ := bytes.Cut(form, []byte("&"))
		decoded, err := url.QueryUnescape(string(first))
		if err != nil {
			return "", errNoWebhook
		}
		body = []byte(decoded)
	}
	if trimmed := bytes.TrimSpace(body); len(trimmed) == 0 || trimmed[0] != '{' {
		return "", errNoWebhook
	}
	var hook struct {
		Repository struct {
			FullName string `json:"full_name"`
		} `json:"repository"`
	}
	switch err := json.Unmarshal(body, &hook); {
	case errors.As(err, new(*json.UnmarshalTypeError)):
		return "", errNoRepository
	case err != nil:
		return "", errNoWebhook
	}
	if _, _, ok := gitops.SplitRepository(hook.Repository.FullName); !ok {
		return "", errNoRepository
	}
	return hook.Repository.FullName, nil
}
