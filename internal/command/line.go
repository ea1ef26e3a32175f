package command

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

var blanks = regexp.MustCompile(`[\s\p{Z}]+`)

// decodeReason reads both forms. A text with blanks is never taken for an encoded one, nor is one like "at 80%".
func decodeReason(value string) (string, error) {
	reason := value
	if !blanks.MatchString(value) {
		if decoded, err := url.PathUnescape(value); err == nil {
			reason = decoded
		}
	}
	if !utf8.ValidString(reason) {
		return "", errors.New("the reason is not valid UTF-8 text once it is percent-decoded")
	}
	reason = strings.TrimSpace(blanks.ReplaceAllString(strings.Map(visible, reason), " "))
	switch {
	case reason == "":
		return "", errors.New("the option --reason needs a value")
	case strings.ContainsFunc(reason, isForbidden):
		return "", errors.New("the reason holds a control character, which could hide what it says")
	case len(reason) > maxReason:
		return "", fmt.Errorf("the reason is %d bytes long: %d are the limit", len(reason), maxReason)
	}
	return reason, nil
}

// decodeField reads FILE:PATH, percent-encoded or not, where FILE is within a repository.
func decodeField(value string) (string, bool) {
	if decoded, err := url.PathUnescape(value); err == nil {
		value = decoded
	}
	file, path, ok := strings.Cut(value, ":")
	return value, ok && path != "" && !strings.HasPrefix(path, "//") && fs.ValidPath(file) && len(value) <= maxField && utf8.ValidString(value) && !strings.ContainsFunc(value, isForbidden)
}

// join writes words back as a line, for a second attempt at reading them.
func join(words []token) string {
	var parts []string
	for _, w := range words {
		if w.quoted {
			w.text = `"` + strings.ReplaceAll(w.text, `"`, "") + `"`
		}
		parts = append(parts, w.text)
	}
	return strings.Join(parts, " ")
}
