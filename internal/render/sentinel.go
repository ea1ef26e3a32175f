package render

import (
	"crypto/hmac"
	"crypto/sha256"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Sentinels stand for values that nobody is to read. What is rendered with Words and again with Digits differs wherever a
// value has a say: the two have no character in common, neither have their cases, encodings and numbers, and they are not
// of the same length.
type Sentinels struct {
	Key   string // drawn for each report: content that knows a sentinel could tell the two renders apart, and act the same in both
	Shape Shape
}

// A Shape is what sentinels look like.
type Shape string

// The shapes.
const (
	Words  Shape = "words"
	Digits Shape = "digits" // a text of digits, which is a number too where it stands unquoted
	// Octal is digits behind a zero, for values of charts. Helm takes what a targetPath sets for a number, but for what begins
	// with a zero, and a chart that encodes or hashes it takes texts alone. A chart that makes a number of it, with int or
	// float64, gets zero from Words and another one from these, so that it shows that a Secret has a say.
	Octal Shape = "octal"
)

// shapes differ in each character, and in each of what base64 makes of them. Words are short of the letters that make a text
// something else than a text in YAML: e, inf, nan, true. Digits are an exact number in JSON.
var shapes = map[Shape]struct {
	first    string
	alphabet string
	length   int // beside first
}{
	Words:  {"", "bcdghjkm", 16},
	Digits: {"", "123456789", 12},
	Octal:  {"0", "1234567", 13},
}

// For is the sentinel of a value, by the names that lead to it.
func (s Sentinels) For(names ...string) string {
	sum := hmac.New(sha256.New, []byte(s.Key))
	for _, name := range names {
		sum.Write([]byte(name))
		sum.Write([]byte{0})
	}
	shape := shapes[s.Shape]
	text := make([]byte, shape.length)
	for i, b := range sum.Sum(nil)[:shape.length] {
		text[i] = shape.alphabet[int(b)%len(shape.alphabet)]
	}
	return shape.first + string(text)
}

// Quoted gives an object with numbers that are sentinels of Digits as texts, as they are where somebody quotes them: what
// takes a text, in a chart, takes no number.
func Quoted(o Object) Object {
	if fields, changed := quoted(o.Fields); changed {
		o.Fields, _ = fields.(map[string]any)
	}
	return o
}

func quoted(v any) (any, bool) {
	changed := false
	switch v := v.(type) {
	case map[string]any:
		m := v
		for k, item := range v {
			if with, ok := quoted(item); ok {
				if !changed {
					m, changed = maps.Clone(v), true
				}
				m[k] = with
			}
		}
		return m, changed
	case []any:
		l := v
		for i, item := range v {
			if with, ok := quoted(item); ok {
				if !changed {
					l, changed = slices.Clone(v), true
				}
				l[i] = with
			}
		}
		return l, changed
	case float64:
		text := strconv.FormatFloat(v, 'f', -1, 64)
		return text, len(text) == shapes[Digits].length && strings.Trim(text, shapes[Digits].alphabet) == ""
	case int64:
		text := strconv.FormatInt(v, 10)
		return text, len(text) == shapes[Digits].length && strings.Trim(text, shapes[Digits].alphabet) == ""
	}
	return v, false
}
