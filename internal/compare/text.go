package compare

import (
	"regexp"
	"slices"
	"strings"
)

// Secrets that are known by their form, wherever they stand.
var (
	// secretKey is a key with its colon, wherever YAML or JSON may have one.
	secretKey = regexp.MustCompile(`(?:^|[\s{,\[])\\?["']?([^\s{}\[\],:"'\\]*(?:` + secretWord + `|\b(?i:auth|authorization)\b)[^\s{}\[\],:"'\\]*)(?:\\?["']\s*:\s*|\s*:(?:\s+|$))`)
	// flowValue is a value inside of braces.
	flowValue = regexp.MustCompile(`^(?:\\"(?:[^"\\]|\\[^"])*\\"|"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^{}\[\],]*)`)
	truth     = regexp.MustCompile(`^(?:true|false|null)\b`)
	// itemName is the line of an item that names it: of a container's env, of a patch. Its value is the line above or below.
	itemName = regexp.MustCompile(`^[\s-]*["']?(?:name|key|path)["']?\s*:\s*["']?([^\s"']*)["']?,?\s*$`)
	// secretKind is a line of a Secret, and dataField what it holds.
	secretKind = regexp.MustCompile(`^[\s-]*["']?kind["']?\s*:\s*["']?(?:Secret|SealedSecret)["']?,?\s*$`)
	dataField  = regexp.MustCompile(`^[\s-]*["']?(?:data|stringData|binaryData|encryptedData)["']?\s*:`)
	// flowName and flowItem are the same within a line.
	flowName  = regexp.MustCompile(`["']?\b(?:name|key|path)\\?["']?\s*:\s*\\?["']?([^\s"',{}\\]+)`)
	flowItem  = regexp.MustCompile(`(\\?["']?\bvalue\\?["']?\s*:\s*)(?:\\"(?:[^"\\]|\\[^"])*\\"|"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s{}\[\],]+)`)
	itemValue = regexp.MustCompile(`^([\s-]*["']?value["']?\s*:\s+)\S.*$`)
	// property is a line of a properties, TOML, INI or shell file.
	property = regexp.MustCompile(`^(\s*(?:export\s+|[-#;]\s*)?["']?([\w.\-/\[\]]+)["']?\s*=\s*)(\S.*)$`)
	argument = regexp.MustCompile(`((?:` + secretWord + `|(?i:\bpwd|\bsig|\bauth))[^\s=:/,;&"']*\s?=\s?)(?:"[^"]*"|'[^']*'|[^\s"',;&\]})]+(?:,[^\s"',;&\]})=]+)*)`)
	option   = regexp.MustCompile(`(--?[\w-]*` + secretWord + `[\w-]*)(\s+|["']?,\s*["']?)[^\s"',\-][^\s"',\]]*`)
	element  = regexp.MustCompile(`(<[\w.:-]*` + secretWord + `[\w.:-]*(?:\s[^<>]*)?>)[^<]+`)
	userInfo = regexp.MustCompile(`(://)[^\s/@:"'<>]*(:)[^\s/@]+@`)
	userOnly = regexp.MustCompile(`(https?://)[^\s/@:"'<>]{8,}@`)
	userHost = regexp.MustCompile(`(\b[\w.-]+:)[^\s:@/"']+(@(?:tcp|unix)?\()`)
	scheme   = regexp.MustCompile(`(?i)\b(bearer|basic|digest|negotiate)(\s+)[A-Za-z0-9._~+/=-]{6,}`)
	// known are tokens with a beginning of their own: of GitHub, GitLab, Slack, AWS, Google, npm, Docker, Vault, Stripe,
	// SendGrid, age and Flux's and Kubernetes' web tokens.
	known = regexp.MustCompile(`\b(?:gh[opsur]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{8,}|xapp-[\w-]{8,}|(?:AKIA|ASIA)[A-Z0-9]{12,}|AIza[\w-]{30,}|npm_\w{30,}` +
		`|dckr_pat_[\w-]{16,}|hvs\.[\w-]{16,}|(?:sk|rk|pk)_(?:live|test)_\w{10,}|sk-[\w-]{20,}|SG\.[\w-]{16,}\.[\w-]{16,}|AGE-SECRET-KEY-[A-Z0-9]+|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*)`)
	hook = regexp.MustCompile(`(https://(?:hooks\.slack\.com/(?:services|workflows)/|discord(?:app)?\.com/api/webhooks/|[\w.-]+\.webhook\.office\.com/))[^\s"'<>]+`)
	pem  = regexp.MustCompile(`-----BEGIN ([A-Z0-9 ]+)-----`)
)

// Text masks what is secret in a text of any kind, by its form and by the names beside it.
func Text(s string) string {
	if !strings.Contains(s, "\n") {
		shown, _ := maskedValues(maskLine(s))
		return shown
	}
	return strings.Join(Lines(strings.SplitAfter(s, "\n")), "")
}

// Fragments without which a line has nothing of a kind in it: looking for them takes a twentieth of the time.
var (
	wordHints  = []string{"pass", "pwd", "secret", "token", "cred", "bearer", "config", "key", "auth", "sig", "cookie"}
	tokenHints = []string{"gh", "glpat", "xox", "xapp", "AKIA", "ASIA", "AIza", "npm_", "dckr", "hvs.", "k_", "sk-", "SG.", "AGE-", "eyJ"}
	hookHints  = []string{"hooks.slack", "discord", "webhook"}
	loginHints = []string{"bearer", "basic", "digest", "negotiate"}
)

func hints(s string, of []string) bool {
	return slices.ContainsFunc(of, func(hint string) bool { return strings.Contains(s, hint) })
}

// maskLine masks what is secret in a line, whatever stands above.
func maskLine(s string) string {
	lower := strings.ToLower(s)
	word := hints(lower, wordHints)
	for _, m := range []struct {
		there bool
		form  *regexp.Regexp
		with  string
	}{
		{strings.Contains(s, "@"), userInfo, "${1}" + Masked + "${2}" + Masked + "@"}, {strings.Contains(s, "@"), userOnly, "${1}" + Masked + "@"},
		{strings.Contains(s, "("), userHost, "${1}" + Masked + "${2}"}, {hints(s, hookHints), hook, "${1}" + Masked},
		{hints(lower, loginHints), scheme, "${1}${2}" + Masked}, {hints(s, tokenHints), known, Masked},
		{word && strings.Contains(s, "<"), element, "${1}" + Masked}, {word && strings.Contains(s, "-"), option, "${1}${2}" + Masked},
		{word && strings.Contains(s, "="), argument, "${1}" + Masked},
	} {
		if m.there {
			s = m.form.ReplaceAllString(s, m.with)
		}
	}
	if !word {
		return s
	}
	if strings.Contains(s, "value") {
		for _, m := range flowName.FindAllStringSubmatch(s, -1) {
			if namesSecret(m[1]) {
				return flowItem.ReplaceAllString(s, "${1}"+Masked)
			}
		}
	}
	return s
}

// namesSecret says that an item of this name, or path, holds a secret.
func namesSecret(name string) bool { return SecretName(name[strings.LastIndexAny(name, "./")+1:]) }

// Lines masks the lines of a text of several, which keep their ends: YAML, JSON, properties and other files. Lines that are
// indented below the key of a secret are part of it.
func Lines(lines []string) []string {
	out := make([]string, len(lines))
	below, item := -1, false // the column of a secret's key that goes on; whether the line before names a secret
	inKey := false           // of PEM
	holds := slices.ContainsFunc(lines, func(l string) bool { return secretKind.MatchString(strings.TrimRight(l, "\r\n")) })
	for i, l := range lines {
		text := strings.TrimRight(l, "\r\n")
		end := l[len(text):]
		content := strings.TrimLeft(text, " \t")
		indent := len(text) - len(content)
		if m := pem.FindStringSubmatchIndex(text); m != nil && !inKey {
			if kind := text[m[2]:m[3]]; !strings.Contains(kind, "CERTIFICATE") && !strings.Contains(kind, "PUBLIC") {
				inKey = !strings.Contains(text[m[1]:], "-----END ")
				out[i], item = text[:m[0]]+Masked+end, false
				continue
			}
		}
		if inKey {
			inKey = !strings.Contains(text, "-----END ")
			out[i] = text[:indent] + Masked + end
			continue
		}
		if below >= 0 && content != "" && (indent > below || indent == below && strings.HasPrefix(content, "- ")) {
			out[i] = text[:indent] + Masked + end
			continue
		}
		if content != "" {
			below = -1
		}
		shown := maskLine(text)
		word := hints(strings.ToLower(text), wordHints)
		if word && strings.Contains(text, "=") {
			if m := property.FindStringSubmatch(shown); m != nil && SecretName(m[2]) && !truth.MatchString(m[3]) {
				shown = m[1] + Masked
			}
		}
		if item {
			shown = itemValue.ReplaceAllString(shown, "${1}"+Masked)
		}
		switch m := dataField.FindStringIndex(text); {
		case holds && m != nil:
			shown, below = text[:m[1]], indent
			if rest := strings.TrimSpace(text[m[1]:]); rest != "" && !strings.HasPrefix(rest, "#") {
				shown += " " + Masked
			}
		case content != "" && below < 0:
			shown, below = maskedValues(shown)
		}
		out[i] = shown + end
		item = false
		if word {
			m := itemName.FindStringSubmatch(text)
			item = m != nil && namesSecret(m[1])
		}
		if item && i > 0 && indent > 0 { // of the same item
			out[i-1] = itemValue.ReplaceAllString(strings.TrimRight(out[i-1], "\r\n"), "${1}"+Masked) + lines[i-1][len(strings.TrimRight(lines[i-1], "\r\n")):]
		}
	}
	return out
}

// maskedValues masks what stands behind the secret keys of a line. below is the column of the last of them where its
// value goes on in the next lines, or -1.
func maskedValues(line string) (shown string, below int) {
	var done strings.Builder
	if !hints(strings.ToLower(line), wordHints) {
		return line, -1
	}
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
		case !SecretName(key), truth.MatchString(value), strings.HasPrefix(value, "{"), strings.HasPrefix(value, "["): // braces hold keys of their own
		case inFlow:
			done.WriteString(Masked)
			rest = value[len(flowValue.FindString(value)):]
		case value == "" || strings.HasPrefix(value, "#"):
			return done.String() + value, column
		default:
			return done.String() + Masked, column
		}
	}
}
