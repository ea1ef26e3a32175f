package report

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

const (
	// MaxKept is how many bytes a report takes that is kept: a ConfigMap holds a MiB.
	MaxKept = 800 << 10
	// maxUnpacked is how many bytes one may have unpacked.
	maxUnpacked = 64 << 20
)

const notKept = "… too long to be kept"

// Encode writes a report to be kept: JSON, compressed, at most MaxKept bytes. Where it is larger, the longest changes go
// first, and then all of them; what becomes of each object stays.
func Encode(r Report) ([]byte, error) {
	for most := maxUnpacked / 4; ; most /= 4 {
		raw, err := json.Marshal(shortened(r, most))
		if err != nil {
			return nil, fmt.Errorf("encode report: %w", err)
		}
		if len(raw) < maxUnpacked {
			packed, err := pack(raw)
			if err != nil {
				return nil, fmt.Errorf("compress report: %w", err)
			}
			if len(packed) <= MaxKept {
				return packed, nil
			}
		}
		if most == 0 {
			return nil, errors.New("encode report: too many objects to be kept")
		}
	}
}

func pack(raw []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(raw); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// shortened is the report without the texts of changes that are longer than most bytes, and without any if that is zero.
func shortened(r Report, most int) Report {
	dropped := 0
	shorten := func(objects []Object) []Object {
		objects = slices.Clone(objects)
		for i, o := range objects {
			var changes []Change
			for j, c := range o.Changes {
				if len(c.Path)+len(c.Before)+len(c.After) <= most {
					continue
				}
				if changes == nil {
					changes = slices.Clone(o.Changes)
				}
				changes[j] = Change{Path: c.Path, After: notKept}
				dropped++
			}
			switch {
			case most == 0 && len(o.Changes) > 0:
				objects[i].Changes = []Change{{After: notKept}}
			case changes != nil:
				objects[i].Changes = changes
			}
		}
		return objects
	}
	r.Environments = slices.Clone(r.Environments)
	for i, e := range r.Environments {
		dropped = 0
		e.Objects, e.Drift = shorten(e.Objects), shorten(e.Drift)
		if dropped > 0 {
			e.Notes = append(slices.Clone(e.Notes), fmt.Sprintf("%s too long to be kept. Refresh shows what can be shown of them.", are(dropped)))
		}
		r.Environments[i] = e
	}
	return r
}

func are(n int) string {
	if n == 1 {
		return "1 change was"
	}
	return fmt.Sprintf("%d changes were", n)
}

// Decode reads what Encode wrote.
func Decode(packed []byte) (Report, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return Report{}, fmt.Errorf("uncompress report: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(z, maxUnpacked+1))
	if err != nil {
		return Report{}, fmt.Errorf("uncompress report: %w", err)
	}
	if len(raw) > maxUnpacked {
		return Report{}, errors.New("uncompress report: it is too large")
	}
	var r Report
	if err := json.Unmarshal(raw, &r); err != nil {
		return Report{}, fmt.Errorf("decode report: %w", err)
	}
	return r, nil
}

// JSON is the report's environments for programs: [{"environment", "error", "objects": [{"kind", "namespace", "name", "source",
// "verdict", "flags", "changes": [{"path", "before", "after"}]}]}].
func JSON(r Report) ([]byte, error) {
	all := make([]Environment, len(r.Environments))
	for i, e := range r.Environments {
		e.Objects = slices.Clone(e.Objects)
		if e.Objects == nil {
			e.Objects = []Object{}
		}
		for j := range e.Objects {
			o := &e.Objects[j]
			if o.Flags == nil {
				o.Flags = []Flag{}
			}
			if o.Changes == nil {
				o.Changes = []Change{}
			}
		}
		all[i] = e
	}
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	w.SetEscapeHTML(false)
	w.SetIndent("", "  ")
	if err := w.Encode(all); err != nil {
		return nil, fmt.Errorf("encode report: %w", err)
	}
	return b.Bytes(), nil
}
