package gitops

import (
	"fmt"
	"strings"
	"testing"
)

func TestValidPrincipal(t *testing.T) {
	for _, good := range []string{
		"slack:U024BE7LH", "slack:W012A3CDE", "slack:*", "discord:80351110224678912", "discord:*", "automation:deploy", "automation:Nightly deploy (eu)",
		"name:jane", "name:Jane Doe", "name:slack:U024BE7LH", "name:Jänner 😀", "name:<@U1>",
	} {
		if err := ValidPrincipal(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, why := range map[string]string{
		"":                      "somebody is written as",
		"*":                     "somebody is written as",
		"jane":                  "somebody is written as",
		"@jane":                 "somebody is written as",
		"<@U024BE7LH>":          "somebody is written as",
		"Slack:U024BE7LH":       "somebody is written as",
		" slack:U024BE7LH":      "somebody is written as",
		"teams:U024BE7LH":       "somebody is written as",
		"name":                  "names nobody",
		"name:":                 "names nobody",
		"automation:":           "names nobody",
		"name:*":                "stands for ids",
		"name:jane*":            "stands for ids",
		"automation:*":          "stands for ids",
		"automation:deploy-*":   "stands for ids",
		"slack:":                "no id of slack",
		"slack":                 "no id of slack",
		"slack:U*":              "no id of slack",
		"slack:**":              "no id of slack",
		"slack:u024be7lh":       "no id of slack",
		"slack:jane":            "no id of slack",
		"slack:B024BE7LH":       "no id of slack",
		"slack:U024BE7LH ":      "no id of slack",
		"slack:U024BE7LH\n":     "no id of slack",
		"slack:U1,slack:U2":     "no id of slack",
		"discord:jane":          "no id of discord",
		"discord:U024BE7LH":     "no id of discord",
		"discord:8*":            "no id of discord",
		"discord:٣":             "no id of discord",
		"name: jane":            "blanks around",
		"name:jane\t":           "blanks around",
		"name:ja\u200bne":       "cannot be seen",
		"name:ja\u202ene":       "cannot be seen",
		"automation:a\nb":       "cannot be seen",
		"automation:\xff":       "cannot be seen",
		"automation:deploy\x00": "cannot be seen",
	} {
		if err := ValidPrincipal(bad); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestPermits(t *testing.T) {
	rule := func(principals ...string) Access { return Access{Rule: "access.default", Principals: principals} }
	for _, tc := range []struct {
		access  Access
		by      string
		permits bool
		names   bool
	}{
		{Access{}, "name:", true, false},
		{Access{}, "automation:deploy", true, false},
		{rule(), "slack:U1", false, false},
		{rule(), "name:", false, false},
		{rule("slack:U1"), "slack:U1", true, true},
		{rule("slack:U1"), "slack:U12", false, false},
		{rule("slack:U1"), "slack:U", false, false},
		{rule("slack:U1"), "discord:1", false, false},
		{rule("slack:U1"), "name:slack:U1", false, false},
		{rule("slack:*"), "slack:U1", true, false},
		{rule("slack:*"), "discord:1", false, false},
		{rule("slack:*"), "name:slack:U1", false, false},
		{rule("slack:*"), "name:jane", false, false},
		{rule("slack:*"), "automation:deploy", false, false},
		{rule("discord:*"), "discord:1", true, false},
		{rule("slack:*", "discord:*"), "name:jane", false, false},
		{rule("name:jane"), "name:jane", true, true},
		{rule("name:jane"), "name:Jane", false, false},
		{rule("name:jane"), "name:jane ", false, false},
		{rule("name:jane"), "name:", false, false},
		{rule("name:slack:*"), "slack:U1", false, false},
		{rule("automation:deploy"), "automation:deploy", true, true},
		{rule("automation:deploy"), "name:deploy", false, false},
		{rule("name:deploy"), "automation:deploy", false, false},
		{rule("slack:U2", "automation:deploy"), "automation:deploy", true, true},
	} {
		if got := tc.access.Permits(tc.by); got != tc.permits {
			t.Errorf("%v permits %q: %t", tc.access, tc.by, got)
		}
		if got := tc.access.Names(tc.by); got != tc.names {
			t.Errorf("%v names %q: %t", tc.access, tc.by, got)
		}
	}
}

func TestRefuseSaysWhoMay(t *testing.T) {
	many := Access{Rule: "access.default"}
	for i := range 18 {
		many.Principals = append(many.Principals, fmt.Sprintf("slack:U%d", i))
	}
	for _, tc := range []struct {
		access  Access
		by      string
		says    []string
		details int
	}{
		{Access{Rule: "environments[1].promotion.promoters", Principals: []string{"slack:U1", "discord:*"}}, "name:Jane",
			[]string{"environments[1].promotion.promoters in ferry's", "you are name:Jane, which no platform vouches for.", "slack:U1", "discord:* (everybody on discord)"}, 2},
		{Access{Rule: "access.default", Principals: []string{"name:jane"}}, "slack:U2", []string{"you are slack:U2.", "name:jane"}, 1},
		{Access{Rule: "access.default", Principals: []string{"name:jane"}}, "name:", []string{"does not tell ferry who you are"}, 1},
		{Access{Rule: "access.default"}, "automation:deploy", []string{"access.default in ferry's configuration is an empty list, so nobody", "you are automation:deploy."}, 0},
		{many, "slack:X", []string{"slack:U14", "and 3 more"}, 16},
	} {
		r := tc.access.Refuse("prod", tc.by)
		if r.Code != Denied || r.Title != "You may not change prod" || len(r.Details) != tc.details {
			t.Errorf("%s: %+v", tc.by, r)
		}
		for _, want := range tc.says {
			if !strings.Contains(r.Error(), want) {
				t.Errorf("%s: %q is not in %s", tc.by, want, r)
			}
		}
		if strings.Contains(r.Error(), "<@") {
			t.Errorf("%s: it calls people: %s", tc.by, r)
		}
	}
	if many.Principals[0] != "slack:U0" {
		t.Error("the rule is changed")
	}
}
