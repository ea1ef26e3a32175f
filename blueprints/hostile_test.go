package blueprints_test

import (
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ferry-chatops/ferry/blueprints"
	"github.com/ferry-chatops/ferry/internal/gitops"
)

// hostileTexts are what a stranger could put into any field that reaches a message, one danger each.
var hostileTexts = map[string]string{
	"mentions":  "<!channel> <!here> <!subteam^S1> @everyone @here @channel @all <@U1> <#C1|x> x@everyone",
	"formats":   "100%s 80%\n%d%v%% 5%[9]*.[2]*[3]f %",
	"fences":    "``` ```` `x`\n```\nx\n``",
	"markup":    "**b** _i_ ~s~ [x](http://y) ![i](http://x/y) <http://x|y> &lt;!here&gt; </b> \\`",
	"templates": "{{BotName}} {{ .Name }} {{ $root }} {{",
	"bidi":      "\u202etxt.exe\u202c \u2066a\u2069 \u200f\u061c",
	"invisible": "\u200b\u00ad\ufeff",
	"lines":     "\na\r\n\n\n  b\x00\t\x1b[31mc\x1b]8;;http://x\x07\n\n",
	"quotes":    `it's "said" '; rm -rf / & | $(x) (y) --filter=x --cluster-name y` + "`id`",
	"bytes":     "a\xff\xfe\xc3(b",
	"long":      strings.Repeat("é", 5000),
	"longLines": strings.Repeat(strings.Repeat("x", 4999)+"\n", 5),
	"empty":     "",
}

// sizes are how many elements a list has. Lists within lists, and those that are checked, keep theirs.
var sizes = []int{0, 1, 30, 500}

// checked are the fields whose texts were checked before they reach a blueprint, since commands are made of them: names
// of Kubernetes, what gitops.ValidEnvironment lets through, lines that gitops.Line wrote, ferry's own manual. Strangers
// have no say in them beyond that; TestCommandsComeBack puts the worst into them that is let through.
var checked = map[string]bool{
	"gitops.Key": true, "gitops.Refusal.Next": true,
	"command.Verb": true, "command.Manual": true, "command.Option": true,
	"operation.Listing.Environments": true, "operation.Listing.Application": true,
	"operation.ListRow.Name": true, "operation.ListRow.Namespace": true, "operation.ListRow.Kind": true,
	"operation.Checkup.Environments": true, "operation.Difference.Environment": true, "operation.Comparison.Other": true, "operation.Suggestion": true,
	"operation.Making.Head": true, "operation.Making.Line": true,
	"report.Report.Repository": true, "report.Report.Branch": true, "report.Report.Head": true, "report.Environment.Environment": true, "report.Card.Environment": true,
	"promotion.Card.Confirm": true, "promotion.Outcome.Next": true,
}

// allSamples are the samples and, of each that is small, one for each hostile text in all fields that are not checked and
// one for each size of its lists.
var allSamples = sync.OnceValue(func() []sample {
	all := slices.Clone(samples())
	for _, s := range samples() {
		if !s.golden {
			continue
		}
		add := func(variant string, c change) {
			all = append(all, sample{s.name + "-" + variant, c.of(reflect.ValueOf(s.data), "").Interface(), false})
		}
		for name, text := range hostileTexts {
			add(name, change{text: &text})
		}
		for _, n := range sizes {
			add(fmt.Sprint(n), change{size: &n})
		}
	}
	slices.SortFunc(all, func(a, b sample) int { return strings.Compare(a.name, b.name) })
	return all
})

// A change copies a value and changes all its texts or the length of all its lists.
type change struct {
	text *string
	size *int
}

// of copies v, which is at a place "package.Type.Field".
func (c change) of(v reflect.Value, place string) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		out.Set(reflect.New(v.Type().Elem()))
		out.Elem().Set(c.of(v.Elem(), place))
	case reflect.Struct:
		out.Set(v)
		for i := range v.NumField() {
			field := v.Type().Field(i)
			place := v.Type().String() + "." + field.Name
			if field.IsExported() && !checked[v.Type().String()] {
				out.Field(i).Set(c.of(v.Field(i), place))
			}
		}
	case reflect.Slice:
		n := v.Len()
		if c.size != nil && n > 0 && !checked[place] {
			n = *c.size
		}
		for i := range n {
			if i < v.Len() {
				out = reflect.Append(out, change{text: c.text}.of(v.Index(i), place))
			} else {
				out = reflect.Append(out, out.Index(i%v.Len()))
			}
		}
	case reflect.Map:
		out.Set(reflect.MakeMap(v.Type()))
		for _, key := range v.MapKeys() {
			out.SetMapIndex(key, c.of(v.MapIndex(key), place))
		}
	case reflect.String:
		out.Set(v)
		if c.text != nil && v.Type() == reflect.TypeFor[string]() && v.String() != "" && !checked[place] {
			out.SetString(*c.text)
		}
	default:
		return v
	}
	return out
}

// A change that finds nothing to change would test nothing.
func TestChangesReachEveryText(t *testing.T) {
	type part struct{ Text string }
	type whole struct {
		Text  string
		Parts []part
		One   *part
		Named map[string]part
		Key   gitops.Key
	}
	before := whole{"a", []part{{"b"}, {"c"}}, &part{"d"}, map[string]part{"e": {"f"}}, gitops.Key{Name: "kept"}}
	text, size := "!", 3
	got := fmt.Sprintf("%+v", change{text: &text}.of(reflect.ValueOf(before), "").Interface().(whole).Parts)
	if got != "[{Text:!} {Text:!}]" {
		t.Errorf("parts: %s", got)
	}
	after := change{text: &text, size: &size}.of(reflect.ValueOf(before), "").Interface().(whole)
	if after.Text != "!" || len(after.Parts) != 3 || after.Parts[2].Text != "!" || after.One.Text != "!" || after.Named["e"].Text != "!" || after.Key.Name != "kept" {
		t.Errorf("%+v", after)
	}
	if before.Text != "a" || before.One.Text != "d" || before.Named["e"].Text != "f" {
		t.Errorf("the sample itself was changed: %+v", before)
	}
}

func TestEveryBlueprintHasHostileSamples(t *testing.T) {
	files, err := fs.Glob(blueprints.Files, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range allSamples() {
		seen[s.blueprint()+s.name[strings.LastIndex(s.name, "-"):]] = true
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".yaml")
		for _, n := range sizes {
			if !seen[fmt.Sprintf("%s-%d", name, n)] {
				t.Errorf("%s has no sample with lists of %d: it needs one that is small", file, n)
			}
		}
		for text := range hostileTexts {
			if !seen[name+"-"+text] {
				t.Errorf("%s has no sample with hostile %s: it needs one that is small", file, text)
			}
		}
	}
}
