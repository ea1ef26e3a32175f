package compare

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Masked stands for what nobody is to read, and Changed for such a thing that is another one than before. Neither tells its
// length or anything else of it.
const (
	Masked  = "***"
	Changed = "*** (changed)"
)

// What names of secrets speak of, as people write them. Names of Secrets, of their keys and of files are not secret.
const secretWord = `(?i:passw(?:or)?d|passphrase|passcode|htpasswd|secret|token|credential|bearer|dockerconfig|kubeconfig` +
	`|(?:api|access|private|signing|encryption|account|shared|session|master|storage|license)[-_.]?key)`

var (
	strongWords = regexp.MustCompile(secretWord)
	secretWords = regexp.MustCompile(secretWord + `|(?i:(?:^|[-_.])(?:pwd|auth|authorization|cookie)$)`)
	// harmless ends, or begins, names of fields that say where a secret is or how it is used, not what it is.
	harmless = regexp.MustCompile(`(?i:name|namespace|ref|refs|file|path|type|policy|enabled|seconds|ttl|timeout|interval|duration|length)$|^existing|(?i:pullsecrets?)$`)
)

// SecretName says that a field or variable of this name may hold a secret.
func SecretName(name string) bool {
	return secretWords.MatchString(name) && !harmless.MatchString(name)
}

// dataFields of a Secret, or of an object that is made into one, hold what is secret below whatever names.
var dataFields = map[string][]string{
	"Secret":                {"data", "stringData", "binaryData"},
	"SealedSecret":          {"spec.encryptedData", "spec.template.data"},
	"ClusterExternalSecret": nil,
	"ConfigMap":             nil,
}

// lastApplied is where kubectl keeps the object as it was sent last.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// secretField says that what m has under a key is secret.
func (c *comparison) secretField(at place, key string, m map[string]any) bool {
	return fieldIsSecret(c.kind, c.sealed, at.path, at.within > 0, key, m)
}

func fieldIsSecret(kind string, sealed bool, path string, within bool, key string, m map[string]any) bool {
	v, there := m[key]
	switch {
	case !there:
		return false
	case path == "" && !within && (key == "kind" || key == "apiVersion" || key == "metadata" || key == "type"):
		return false
	case sealed && path == "":
		return true
	case key == lastApplied, m["kind"] == "Secret" && slices.Contains(dataFields["Secret"], key):
		return true
	}
	at := key
	if path != "" {
		at = path + "." + key
	}
	for _, field := range dataFields[kind] {
		if at == field && !within {
			return true
		}
	}
	switch v.(type) {
	case bool, nil:
		return false
	}
	switch {
	case kind == "CustomResourceDefinition" && strings.Contains(path, "openAPIV3Schema"):
		return false // a description of fields
	case key == "value" || key == "values":
		return itemIsSecret(m)
	case !SecretName(key):
		return false
	case container(v) && !strongWords.MatchString(key):
		return false // auth: {rootPassword: …, existingSecret: …}
	}
	return !reference(v)
}

func container(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// itemIsSecret says that a list item such as an environment variable is named like a secret.
func itemIsSecret(m map[string]any) bool {
	for _, key := range []string{"name", "key", "path"} {
		if name, ok := m[key].(string); ok && namesSecret(name) {
			return true
		}
	}
	return false
}

// secretItem says that an item of a list is the value of the option before it: --password, hunter2.
func (c *comparison) secretItem(list []any, i int) bool { return followsOption(list, i) }

func followsOption(list []any, i int) bool {
	if i == 0 || i >= len(list) {
		return false
	}
	option, ok := list[i-1].(string)
	return ok && strings.HasPrefix(option, "-") && !strings.ContainsAny(option, "= ") && SecretName(option)
}

// referenceFields are those of maps that say where a secret is: volumes, pull secrets, tokens of accounts.
var referenceFields = map[string]bool{
	"secretName": true, "name": true, "namespace": true, "optional": true, "defaultMode": true, "items": true, "mode": true,
	"path": true, "audience": true, "expirationSeconds": true, "kind": true, "apiVersion": true, "uid": true, "group": true,
}

// reference says that a value only names a secret.
func reference(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			if !referenceFields[key] {
				return false
			}
		}
		return len(v) > 0
	case []any:
		return len(v) > 0 && !slices.ContainsFunc(v, func(item any) bool { return !reference(item) })
	}
	return false
}

// sealed says that SOPS encrypts an object.
func sealed(m map[string]any) bool {
	seal, ok := m["sops"].(map[string]any)
	return ok && (seal["mac"] != nil || seal["lastmodified"] != nil || seal["version"] != nil)
}

// encrypted is a text that SOPS has encrypted.
func encrypted(s string) bool { return strings.HasPrefix(s, "ENC[") && strings.HasSuffix(s, "]") }

// Mask gives an object as it may be shown: a copy where something in it is secret. hidden are paths as of Depends.
func Mask(kind string, object map[string]any, hidden []string) map[string]any {
	m := masker{comparison{kind: kind, options: Options{Hidden: hidden}, sealed: sealed(object)}}
	shown, _ := m.mask(place{}, object).(map[string]any)
	return shown
}

// A masker goes through a value as a comparison does.
type masker struct{ comparison }

func (m *masker) mask(at place, v any) any {
	if m.hidden(at.path) && at.path != "" || m.hiddenWithin(at.path) && at.path != "" {
		at.secret = true
	}
	if at.depth > maxDepth {
		return Masked
	}
	switch v := v.(type) {
	case map[string]any:
		out := maps.Clone(v)
		for key := range v {
			if at.path == "" && key == "sops" && m.sealed {
				delete(out, key)
				continue
			}
			out[key] = m.mask(at.under(key, m.secretField(at, key, v)), v[key])
		}
		return out
	case []any:
		out := make([]any, len(v))
		names, _, keyed := identities(at.key, v, nil)
		for i := range v {
			p := at
			if keyed && !at.secret {
				p = at.item(names[i])
			} else {
				p = at.item("")
			}
			p.secret = p.secret || followsOption(v, i)
			out[i] = m.mask(p, v[i])
		}
		return out
	case nil, bool:
		return v
	case string:
		switch {
		case at.secret && v != "":
			return Masked
		default:
			return Text(v)
		}
	}
	if at.secret {
		return Masked
	}
	return v
}
