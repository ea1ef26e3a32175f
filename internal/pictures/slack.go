package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// A post is one message as Botkube sends it to Slack: blocks, or text alone.
type post struct {
	Text   string  `json:"text"`
	Blocks []block `json:"blocks"`
}

// A block is one of Slack's (https://api.slack.com/reference/block-kit/blocks), or an element of one, as far as ferry's
// messages have them.
type block struct {
	Type        string     `json:"type"`
	Text        *markdown  `json:"text"`
	Fields      []markdown `json:"fields"`
	Elements    []block    `json:"elements"`
	Style       string     `json:"style"`
	Placeholder *markdown  `json:"placeholder"`
}

// Markdown is an object, or a string where an element of small print has it.
type markdown string

func (m *markdown) UnmarshalJSON(raw []byte) error {
	var object struct{ Text string }
	if err := json.Unmarshal(raw, &object); err == nil {
		*m = markdown(object.Text)
		return nil
	}
	return json.Unmarshal(raw, (*string)(m))
}

// Sizes of Slack's picture, in pixels.
const (
	slackWidth = 720
	margin     = 16
	inset      = 64 // left of a message's text
	inner      = slackWidth - inset - margin
	size       = 15
	small      = 12
	mono       = 12
	monoCell   = mono * 0.602
)

// Slack's colours.
const (
	ink      = "#1d1c1d"
	grey     = "#616061"
	line     = "#d5d5d6"
	codeInk  = "#c01343"
	codePage = "#f6f6f6"
	linkInk  = "#1264a3"
	green    = "#007a5a"
	red      = "#e01e5a"
)

// A slack draws posts below one another.
type slack struct {
	svg
	y float64
}

// drawSlack draws posts as Slack shows them in a channel.
func drawSlack(raw []byte, title string) ([]byte, error) {
	var posts []post
	if err := json.Unmarshal(raw, &posts); err != nil {
		return nil, fmt.Errorf("read posts: %w", err)
	}
	s := &slack{y: margin}
	s.head()
	for _, p := range posts {
		s.post(p)
	}
	return s.file(slackWidth, s.y+margin-4, title, "#ffffff", line), nil
}

// head is who speaks.
func (s *slack) head() {
	s.box(margin, s.y, 36, 36, 8, "#2f6f9f", "")
	s.words(margin+18, s.y+24, "middle", []run{{text: "B", size: 19, bold: true, fill: "#ffffff"}})
	s.words(inset, s.y+12, "", []run{{text: "Botkube", size: size, bold: true, fill: ink}, {text: "  APP", size: 10, bold: true, fill: grey}})
	s.y += 20
}

func (s *slack) post(p post) {
	for _, b := range p.Blocks {
		switch b.Type {
		case "section":
			if b.Text != nil {
				s.paragraphs(string(*b.Text), inset, inner, size, ink)
			}
			s.fields(b.Fields)
		case "actions":
			s.actions(b.Elements)
		case "context":
			for _, e := range b.Elements {
				s.paragraphs(string(*e.Text), inset, inner, small, grey)
			}
		case "divider":
			s.y += 6
			s.rule(inset, s.y, inner)
			s.y += 6
		}
	}
	if p.Text != "" {
		s.y += 6
		s.paragraphs(p.Text, inset, inner, size, ink)
	}
}

var fence = regexp.MustCompile("(?s)```(.*?)```")

// paragraphs writes Slack's mrkdwn.
func (s *slack) paragraphs(text string, x, width float64, size float64, fill string) {
	for len(text) > 0 {
		at := fence.FindStringSubmatchIndex(text)
		if at == nil {
			s.prose(text, x, width, size, fill)
			break
		}
		s.prose(text[:at[0]], x, width, size, fill)
		s.code(plain(strings.Trim(text[at[2]:at[3]], "\n")), x, width)
		text = text[at[1]:]
	}
	s.y += 5
}

func (s *slack) prose(text string, x, width, size float64, fill string) {
	text = strings.Trim(text, "\n")
	if text == "" {
		return
	}
	for l := range strings.SplitSeq(text, "\n") {
		for _, row := range wrap(runs(l, size, fill), width) {
			s.y += size * 1.4
			s.words(x, s.y-size*0.4, "", row)
		}
	}
}

func (s *slack) code(text string, x, width float64) {
	var rows []string
	room := int((width - 20) / monoCell)
	for l := range strings.SplitSeq(text, "\n") {
		r := []rune(l)
		for len(r) > room {
			rows, r = append(rows, string(r[:room])), r[room:]
		}
		rows = append(rows, string(r))
	}
	const step = 16
	s.y += 4
	s.box(x, s.y, width, float64(len(rows))*step+12, 4, codePage, line)
	for i, row := range rows {
		s.grid(x+9, s.y+6+12+float64(i)*step, mono, monoCell, row, cell{fill: ink})
	}
	s.y += float64(len(rows))*step + 14
}

// fields are in two columns.
func (s *slack) fields(fields []markdown) {
	for i := 0; i < len(fields); i += 2 {
		top := s.y
		bottom := top
		for j := i; j < min(i+2, len(fields)); j++ {
			s.y = top
			s.paragraphs(string(fields[j]), inset+float64(j-i)*(inner/2+8), inner/2-8, size, ink)
			bottom = max(bottom, s.y)
		}
		s.y = bottom - 2
	}
	if len(fields) > 0 {
		s.y += 4
	}
}

// actions are buttons and selects.
func (s *slack) actions(elements []block) {
	x := float64(inset)
	s.y += 4
	for _, e := range elements {
		label, fill, stroke, page := "", ink, "#bbbabb", "#ffffff"
		switch {
		case e.Placeholder != nil:
			label, fill = string(*e.Placeholder)+"  ▾", grey
		case e.Text != nil:
			label = string(*e.Text)
		}
		switch e.Style {
		case "primary":
			fill, stroke, page = "#ffffff", green, green
		case "danger":
			fill, stroke, page = "#ffffff", red, red
		}
		w := measure(run{text: label, size: 14, bold: true}) + 26
		if x+w > slackWidth-margin {
			x, s.y = inset, s.y+40
		}
		s.box(x, s.y, w, 32, 4, page, stroke)
		s.words(x+w/2, s.y+21, "middle", []run{{text: label, size: 14, bold: true, fill: fill}})
		x += w + 8
	}
	s.y += 40
}

var (
	span     = regexp.MustCompile("`([^`]+)`|\\*([^*\n]+)\\*|<([^>|]+)(?:\\|([^>]*))?>|(https?://[^\\s<>]+)")
	entities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")
)

func plain(s string) string { return entities.Replace(s) }

// runs reads a line of mrkdwn.
func runs(l string, size float64, fill string) []run {
	var out []run
	add := func(r run) {
		r.size = size
		if r.fill == "" {
			r.fill = fill
		}
		r.text = plain(r.text)
		if r.text != "" {
			out = append(out, r)
		}
	}
	for {
		at := span.FindStringSubmatchIndex(l)
		if at == nil {
			add(run{text: l})
			return out
		}
		add(run{text: l[:at[0]]})
		part := func(i int) string { return l[at[2*i]:at[2*i+1]] }
		switch {
		case at[2] >= 0:
			add(run{text: part(1), mono: true, fill: codeInk})
		case at[4] >= 0:
			add(run{text: part(2), bold: true})
		case at[6] >= 0 && strings.HasPrefix(part(3), "@"):
			add(run{text: "@jane", fill: linkInk})
		case at[8] >= 0:
			add(run{text: part(4), fill: linkInk})
		case at[6] >= 0:
			add(run{text: part(3), fill: linkInk})
		default:
			add(run{text: part(5), fill: linkInk})
		}
		l = l[at[1]:]
	}
}
