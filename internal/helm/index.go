package helm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	maxIndex = 24 << 20 // bytes of an index, unpacked; the largest public ones have some 20 MB
	// maxPart is what YAML is read of at once, in bytes: the objects made of it take up to sixty times as much.
	maxPart = 4 << 20
)

var errNoChart = errors.New("the index does not have this chart")

// An entry is one version of a chart in an index.
type entry struct {
	Version string   `json:"version"`
	Created text     `json:"created"`
	Digest  text     `json:"digest"` // SHA-256 of the archive, in hex; empty: not told
	URLs    []string `json:"urls"`   // of the archive; absolute, or relative to the index
}

// A text is empty where something else stands: a digest without quotes may be a number to YAML.
type text string

// UnmarshalJSON never fails.
func (t *text) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		s = ""
	}
	*t = text(s)
	return nil
}

// entries reads those of one chart in an index, in the repository's order. Of a large index in YAML only the chart's own
// lines are read.
func entries(index []byte, chart string) ([]entry, error) {
	part, whole := index, bytes.TrimLeft(index, " \t\r\n")
	if !bytes.HasPrefix(whole, []byte("{")) {
		if own, ok := cut(index, chart); ok {
			part = own
		}
		if len(part) > maxPart {
			return nil, fmt.Errorf("read index: what it has of this chart is larger than %d MB", maxPart>>20)
		}
		converted, err := yaml.YAMLToJSON(part)
		if err != nil {
			return nil, fmt.Errorf("read index: %w", err)
		}
		whole = converted
	}
	var all struct {
		Entries map[string]json.RawMessage `json:"entries"`
	}
	if err := json.Unmarshal(whole, &all); err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	raw, ok := all.Entries[chart]
	if !ok {
		return nil, errNoChart
	}
	var of []entry
	if err := json.Unmarshal(raw, &of); err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	return of, nil
}

// cut returns the lines of one chart from an index in YAML's block style, below their "entries:"; just that line where
// there is no such chart. It is false for an index in another style. In block style whatever belongs to a key is indented
// more than it, but for the dashes of a list.
func cut(index []byte, chart string) ([]byte, bool) {
	own := []byte("entries:\n")
	var indent = -1 // of the charts' names
	inside, within := false, false
	for line := range bytes.Lines(index) {
		text := bytes.TrimLeft(line, " ")
		depth := len(line) - len(text)
		blank := len(bytes.TrimSpace(text)) == 0 || text[0] == '#'
		switch {
		case !inside:
			if rest, ok := bytes.CutPrefix(line, []byte("entries:")); ok {
				if rest = bytes.TrimSpace(rest); len(rest) > 0 && rest[0] != '#' {
					return nil, false
				}
				inside = true
			}
		case blank:
		case indent < 0 && depth == 0:
			return nil, false
		case depth == 0:
			return own, true
		case indent < 0 || depth == indent && text[0] != '-':
			indent = depth
			if within {
				return own, true
			}
			name, _, ok := strings.Cut(string(text), ":")
			if !ok {
				return nil, false
			}
			within = strings.Trim(name, `"'`) == chart
		case depth < indent:
			return nil, false
		}
		if within {
			own = append(own, line...)
		}
	}
	return own, inside && indent >= 0
}
