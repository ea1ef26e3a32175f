package command

import (
	"errors"
	"fmt"
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
