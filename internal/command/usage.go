package command

import (
	"fmt"
	"strings"

	"github.com/ferry-chatops/ferry/internal/gitops"
)

// A Manual is the answer to help: all verbs, or the one of Topic.
type Manual struct {
	Topic string
	Verbs []Verb
}

// A Verb is one command as help shows it.
type Verb struct {
	Name     string
	Does     string   // a sentence
	Usage    []string // "promote APP@VERSION to ENV"
	Examples []string // whole lines that parse
	Notes    []string // sentences
	Options  []Option
}

// An Option is one of a verb's.
type Option struct {
	Name string // "--image NAME"
	Does string // a sentence
}

func (o Option) word() string {
	word, _, _ := strings.Cut(o.Name, " ")
	return word
}

// Usage gives the manual of all verbs for an empty topic, else of the verb that it names. A *gitops.Refusal of code
// Usage for any other word.
func Usage(topic string) (Manual, error) {
	if topic == "" {
		return Manual{Verbs: manualVerbs}, nil
	}
	for _, v := range manualVerbs {
		if v.Name == topic {
			return Manual{Topic: topic, Verbs: []Verb{v}}, nil
		}
	}
	r := &gitops.Refusal{Code: gitops.Usage, Title: "No help for this",
		Reason: fmt.Sprintf("%q is not one of ferry's commands.%s", short(topic), didYouMean(topic, verbs()))}
	if guess := gitops.Closest(topic, verbs()); guess != "" {
		r.Next = append(r.Next, helpLine(guess))
	}
	r.Next = append(r.Next, helpLine(""))
	return Manual{}, r
}

func verbs() []string {
	var names []string
	for _, v := range manualVerbs {
		names = append(names, v.Name)
	}
	return names
}

func optionWords(options []Option) []string {
	var words []string
	for _, o := range options {
		if o.Does != "" {
			words = append(words, o.word())
		}
	}
	return words
}

func (o Option) takesValue() bool { return o.word() != o.Name }

// refresh is an option that only buttons are meant to write.
const refresh = "--refresh"

// reviewOptions are those of diff pr. What has no sentence is meant for buttons, and no help shows it.
var reviewOptions = []Option{
	{"--repo OWNER/NAME", "The repository, where environments follow several."},
	{"--env ENV", "One environment alone, object by object."},
	{"--head COMMIT", ""},
	{"--page N", ""},
	{refresh, ""},
}

const (
	reviewUsage   = "diff pr NUMBER|URL|BRANCH [OPTIONS]"
	reviewExample = "diff pr 7"
)

var changeOptions = []Option{
	{"--chart", "The chart's version is meant, not an image's tag."},
	{"--image NAME", "The tag of this container or image is meant."},
	{"--field FILE:PATH", "This field is meant, one of those that the answer listed."},
	{"--reason TEXT", "Why; it is kept in the commit. Put it in quotes if it has blanks."},
	{"--shared", "Agree that other environments fed by the same file change too."},
	{"--override", "Where other environments share the file, state the version in this one's own files."},
	{"--pin", "Agree that one version takes the place of a range."},
	{"--drop-digest", "Agree that the digest beside the tag goes."},
	{"--pr", "Open a pull request even where ferry may commit."},
	{"--yes", "Skip the card, where the environment's configuration allows it."},
	{"--confirm HASH", "Do exactly what the card with this hash showed. The card's button and line hold it."},
	{"--until UNIX", "When that confirmation expires, in seconds since 1970."},
}

const (
	appNote = "APP is a name, NAMESPACE/NAME or KIND/NAMESPACE/NAME."
	inNote  = "to, on and in mean the same before an environment."
)

var manualVerbs = []Verb{
	{
		Name:     "list",
		Does:     "Shows every application in every environment: version, its kind, status and namespace.",
		Usage:    []string{"list [APP]"},
		Examples: []string{"list podinfo", "list"},
		Notes:    []string{appNote},
	},
	{
		Name:     "diff",
		Does:     "Shows what differs between environments: versions, images and replicas. diff pr shows what merging a pull request would do to each.",
		Usage:    []string{"diff ENV [OTHER]", reviewUsage},
		Examples: []string{"diff stage prod", "diff stage", reviewExample, "diff pr 7 --env prod", "diff pr https://github.com/acme/fleet/pull/7"},
		Notes:    []string{"URL is a pull request's on GitHub. A branch needs no pull request."},
		Options:  reviewOptions[:2],
	},
	{
		Name:     "promote",
		Does:     "Plans the change of a version in Git, shows the exact edit, and does it once confirmed.",
		Usage:    []string{"promote APP@VERSION to ENV [OPTIONS]", "promote APP from ENV to ENV [OPTIONS]"},
		Examples: []string{"promote podinfo@7.0.0 to prod", "promote podinfo from stage to prod", `promote podinfo@7.0.0 to prod --reason "fixes the login"`},
		Notes:    []string{appNote, inNote},
		Options:  changeOptions,
	},
	{
		Name:     "rollback",
		Does:     "Goes back to the release before the present one, or to the version given, the same way as promote.",
		Usage:    []string{"rollback APP on ENV [to VERSION] [OPTIONS]"},
		Examples: []string{"rollback podinfo on prod", "rollback podinfo on prod to 6.9.4"},
		Notes:    []string{appNote, inNote},
		Options:  changeOptions,
	},
	{
		Name:     "status",
		Does:     "Shows what became of ferry's newest change to an application, or of all recent ones; or how ferry's source follows pull requests.",
		Usage:    []string{"status [APP on ENV]", "status source"},
		Examples: []string{"status podinfo on prod", "status", "status source"},
		Notes:    []string{appNote, inNote},
	},
	{
		Name:     "check",
		Does:     "Shows what works and what is missing: clusters, Flux, rights and GitHub, each with what mends it. Writes nothing.",
		Usage:    []string{"check [ENV]"},
		Examples: []string{"check prod", "check"},
	},
	{
		Name:     "help",
		Does:     "Shows all commands, or how to use one.",
		Usage:    []string{"help", "VERB --help"},
		Examples: []string{"promote --help", "help"},
	},
}
