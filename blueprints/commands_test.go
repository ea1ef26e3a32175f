package blueprints_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kubeshop/botkube/pkg/api"

	"github.com/ferry-chatops/ferry/internal/command"
	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/operation"
	"github.com/ferry-chatops/ferry/internal/promotion"
)

// A written command is one of a button or a drop-down, with what the host has to make of it.
type written struct {
	Command string   `json:"command"`
	Tokens  []string `json:"tokens"`  // its words, from the plugin's name on
	Arrives string   `json:"arrives"` // what is handed to the plugin
}

// read takes a command apart as ferry wrote it: address, title, line.
func read(t *testing.T, cmd string) written {
	t.Helper()
	plugin, rest, ok := strings.Cut(strings.TrimPrefix(cmd, api.MessageBotNamePlaceholder+" "), " --bk-cmd-header='")
	title, line, closed := strings.Cut(rest, "' ")
	if !ok || !closed || title == "" || strings.ContainsAny(title, `"&;|<>()`+"`") || strings.Contains(plugin, " ") {
		t.Fatalf("%q has no address or title", cmd)
	}
	return written{cmd, append([]string{plugin}, words(line)...), plugin + " " + line}
}

// commands are those of all buttons and drop-downs.
func commands(t *testing.T, messages []api.Message) []written {
	t.Helper()
	var all []written
	for _, m := range messages {
		for _, section := range m.Sections {
			for _, b := range section.Buttons {
				if b.Command != "" {
					all = append(all, read(t, b.Command))
				}
			}
			for _, c := range section.Selects.Items {
				for _, group := range c.OptionGroups {
					for _, o := range group.Options {
						all = append(all, read(t, c.Command+" "+o.Value))
					}
				}
			}
		}
	}
	return all
}

// words cuts a line at blanks outside of double quotes.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}

// strange makes names, versions and reasons of everything that is let through.
type strange struct{ *rand.Rand }

func (r strange) one(of ...string) string { return of[r.IntN(len(of))] }

// text is of n characters of an alphabet, or now and then a word that means something to somebody.
func (r strange) text(alphabet string, n int) string {
	if r.IntN(4) == 0 {
		return r.one("filter", "cluster-name", "all-clusters", "bk-cmd-header", "help", "ferry", "list", "promote", "from", "true", "null", "1e9", "0x1F", "x--filter", "a-.-_b", "reason--yes")
	}
	runes := []rune(alphabet)
	var b strings.Builder
	for range n {
		b.WriteRune(runes[r.IntN(len(runes))])
	}
	return b.String()
}

const alphanumeric = "abcxyzABCXYZ0189"

// name begins and ends with a letter or digit.
func (r strange) name(longest int) string {
	if longest = r.IntN(longest); longest < 2 {
		return r.one("a", "0", "Z", "x")
	}
	name := r.text(alphanumeric, 1) + r.text(alphanumeric+"._-", longest-2) + r.text(alphanumeric, 1)
	return name[:1] + strings.TrimRight(name[1:min(len(name), longest)], "._-")
}

func (r strange) application() string {
	name, namespace := r.name(200), r.name(60)
	return r.one(name, namespace+"/"+name, r.one("HelmRelease", "Deployment", "StatefulSet", "DaemonSet")+"/"+namespace+"/"+name)
}

func (r strange) version() string {
	return r.one("1", "v1.2.3-rc.1+build_4", "_", "_-", "0.0.0--filter", "1.-", r.text(alphanumeric+"_", 1)+r.text(alphanumeric+"._+-", r.IntN(100)))
}

func (r strange) reason() string {
	return r.one("", "", "fixes it", `he said "it's" done`, "-", "--filter=x", "a --cluster-name y", "'", `"`, "80%", "%41", "a  b", "don''t", "it”s", "x\\", "<!channel> @everyone", "{{BotName}}",
		"see https://github.com/acme/fleet/pull/7?a=b&c=d#e", r.text(alphanumeric+" .,:;_-'\"`()&|<>\\$%@{}#*?!~^=+[]/é日😀“”‘’", r.IntN(100)))
}

func (r strange) change() gitops.Change {
	c := gitops.Change{Application: r.application(), Environment: r.name(60), Reason: r.reason(), Shared: r.IntN(4) == 0, PullRequest: r.IntN(4) == 0, Yes: r.IntN(4) == 0}
	switch r.IntN(4) {
	case 0:
		c.Chart = true
	case 1:
		c.Image = r.one("app", "ghcr.io/acme/app", "registry:5000/a/b-c_d", r.text(alphanumeric, 1)+r.text(alphanumeric+"._/:-", r.IntN(200))+"x")
	}
	if r.IntN(2) == 0 {
		c.Confirm, c.Until = strings.Repeat("0123456789abcdef", 2), time.Unix(1767366600+r.Int64N(1<<20), 0).UTC()
	}
	return c
}

func (r strange) request() gitops.Request {
	switch r.IntN(9) {
	case 8:
		return gitops.Check{Environment: r.one("", r.name(60))}
	case 0:
		return gitops.List{Application: r.one("", r.application())}
	case 1:
		return gitops.Diff{Environment: r.name(60), Other: r.one("", r.name(60))}
	case 2:
		return gitops.Status{Application: r.application(), Environment: r.name(60), Refresh: r.IntN(2) == 0}
	case 3:
		return gitops.Help{Topic: r.one("", "list", "diff", "promote", "rollback", "status", "check")}
	case 4, 5:
		return gitops.Rollback{Change: r.change(), To: r.one("", r.version())}
	case 6:
		return gitops.Promote{Change: r.change(), From: r.name(60)}
	default:
		return gitops.Promote{Change: r.change(), Version: r.version()}
	}
}

// Whatever is asked, the buttons and drop-downs that offer it again come back as the same request. Through the host's own
// reading of commands they are sent by internal/hosttest, which finds them in a file that this test writes.
func TestCommandsComeBack(t *testing.T) {
	set := load(t)
	r := strange{rand.New(rand.NewPCG(1, 2))} //nolint:gosec // the same every time
	var all []written
	kinds := map[string]int{}
	for len(all) < 4000 {
		request := r.request()
		line := gitops.Line(request)
		if again, err := command.Parse(line); err != nil || cmp.Diff(normal(request), again) != "" {
			if err == nil {
				t.Fatalf("%q is another request:\n%s", line, cmp.Diff(normal(request), again))
			}
			continue // not let through: an environment called "to"
		}
		var name string
		var data any
		switch request := request.(type) {
		case gitops.List:
			name, data = "list", operation.Listing{Application: request.Application, Environments: []string{"a", r.name(60)},
				Rows: []operation.ListRow{{Name: r.application(), Cells: make([]operation.Cell, 2)}, {Name: r.name(70), Cells: make([]operation.Cell, 2)}}}
		case gitops.Diff:
			name, data = "diff", operation.Difference{Environment: request.Environment, Comparisons: []operation.Comparison{{Other: r.name(60), Suggestions: []operation.Suggestion{{
				Application: "a", Version: "1", To: "b", Command: gitops.Line(gitops.Promote{Change: gitops.Change{Application: r.application(), Environment: r.name(60)}, Version: r.version()})}}}}}
		default:
			name, data = r.one("card", "refusal"), &gitops.Refusal{Reason: "x", Next: []string{line}}
			if name == "card" {
				data = promotion.Card{Confirm: line, Plan: gitops.Plan{Application: gitops.Key{Name: "a", Environment: "b"}}}
			}
		}
		messages, err := set.Messages(name, data, platforms["blocks"])
		if err != nil {
			t.Fatal(err)
		}
		found := commands(t, messages)
		if i := slices.IndexFunc(found, func(w written) bool { return w.Arrives == "ferry "+line }); i < 0 && name != "list" && name != "diff" {
			t.Errorf("%s has no button for %q: %q", name, line, found)
		}
		for _, w := range found {
			again, err := command.Parse(w.Arrives)
			if err != nil {
				if strings.Contains(err.Error(), "ferry's own") {
					continue // as above, in a list
				}
				t.Errorf("%q: %v", w.Arrives, err)
				continue
			}
			if from, err := command.Parse(strings.Replace(w.Command, api.MessageBotNamePlaceholder, "<@U024BE7LH>", 1)); err != nil || cmp.Diff(again, from) != "" {
				t.Errorf("%q is another request with its address and title: %v", w.Command, err)
			}
			kinds[again.Verb()]++
			all = append(all, w)
		}
	}
	for _, verb := range []string{"list", "diff", "status", "check", "help", "rollback", "promote"} {
		if kinds[verb] < 100 {
			t.Errorf("only %d commands are a %s", kinds[verb], verb)
		}
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(messagesDir(), "commands")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "strange.json"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

// normal is the request as it is after reading: blanks in a reason are single, and none are around it.
func normal(request gitops.Request) gitops.Request {
	switch r := request.(type) {
	case gitops.Promote:
		r.Reason = strings.Join(strings.Fields(r.Reason), " ")
		return r
	case gitops.Rollback:
		r.Reason = strings.Join(strings.Fields(r.Reason), " ")
		return r
	}
	return request
}
