package promotion

import (
	"regexp"
	"strings"

	"github.com/ferry-chatops/ferry/internal/operation"
)

// unified writes the difference of two texts for people: without what is secret, and without carriage returns.
func unified(file string, before, after []byte) string {
	return operation.Unified(file, before, after, func(lines []string) []string {
		shown := masked(lines)
		for i, l := range shown {
			if text, ok := strings.CutSuffix(l, "\r\n"); ok {
				shown[i] = text + "\n"
			}
		}
		return shown
	})
}

// What neighbouring lines may hold of secrets, by the names that people give them. A diff is read in chat and in pull
// requests. Names of Secrets, of their keys and of files are not secret themselves.
const secretWord = `(?i:passw(?:or)?d|passphrase|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credential)`

const mask = "***"

var (
	// secretKey is a key with its colon, wherever YAML may have one.
	secretKey = regexp.MustCompile(`(?:^|[\s{,\[])["']?([^\s{}\[\],:"']*` + secretWord + `[^\s{}\[\],:"']*)(?:["']\s*:\s*|\s*:(?:\s+|$))`)
	harmless  = regexp.MustCompile(`(?i:name|ref|file|path)$|^existing|(?i:pullsecrets?)$`)
	// flowValue is a value inside of braces.
	flowValue = regexp.MustCompile(`^(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^{}\[\],]*)`)
	truth     = regexp.MustCompile(`^(?:true|false)\b`)
	// secretItem begins an item of a container's env, whose value is the next line.
	secretItem = regexp.MustCompile(`^[\s-]*["']?name["']?\s*:\s*["']?\S*` + secretWord + `\S*\s*$`)
	itemValue  = regexp.MustCompile(`^([\s-]*["']?value["']?\s*:\s+)\S.*$`)
	argument   = regexp.MustCompile(`(` + secretWord + `[^\s=:/]*=)[^\s"',]+`)
	userInfo   = regexp.MustCompile(`(://[^\s/@:]*:)[^\s/@]+@`)
)

// masked gives the lines of a YAML text without the values of secrets. Lines that are indented below the key of one are
// part of it.
func masked(lines []string) []string {
	out := make([]string, len(lines))
	below, item := -1, false // the column of a secret's key that goes on; whether the line before names a secret
	for i, l := range lines {
		text := strings.TrimRight(l, "\r\n")
		content := strings.TrimLeft(text, " ")
		indent := len(text) - len(content)
		if below >= 0 && content != "" && (indent > below || indent == below && strings.HasPrefix(content, "- ")) {
			out[i] = text[:indent] + mask + l[len(text):]
			continue
		}
		if content != "" {
			below = -1
		}
		shown := argument.ReplaceAllString(userInfo.ReplaceAllString(text, "${1}"+mask+"@"), "${1}"+mask)
		if item {
			shown = itemValue.ReplaceAllString(shown, "${1}"+mask)
		}
		if content != "" && below < 0 {
			shown, below = maskedValues(shown)
		}
		out[i], item = shown+l[len(text):], secretItem.MatchString(text)
	}
	return out
}

// maskedValues masks what stands behind the secret keys of a line. below is the column of the last of them where its
// value goes on in the next lines, or -1.
func maskedValues(line string) (shown string, below int) {
	var done strings.Builder
	inFlow := false
	for rest := line; ; {
		m := secretKey.FindStringSubmatchIndex(rest)
		if m == nil {
			return done.String() + rest, -1
		}
		column := len(line) - len(rest) + m[2]
		inFlow = inFlow || strings.ContainsAny(rest[:m[2]], "{[")
		key, value := rest[m[2]:m[3]], rest[m[1]:]
		done.WriteString(rest[:m[1]])
		rest = value
		switch {
		case harmless.MatchString(key), truth.MatchString(value), strings.HasPrefix(value, "{"), strings.HasPrefix(value, "["): // braces hold keys of their own
		case inFlow:
			done.WriteString(mask)
			rest = value[len(flowValue.FindString(value)):]
		case value == "" || strings.HasPrefix(value, "#"):
			return done.String() + value, column
		default:
			return done.String() + mask, column
		}
	}
}
