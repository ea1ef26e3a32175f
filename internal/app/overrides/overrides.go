// Package overrides reads the blueprints that an operator puts in the place of ferry's own: from a folder, a commit of a Git
// repository or an archive. It takes only what is as good as ferry's own; where a file is not, ferry's stays.
package overrides

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"sigs.k8s.io/yaml"

	"github.com/ferry-chatops/ferry/blueprints"
	"github.com/ferry-chatops/ferry/internal/app/fetch"
	"github.com/ferry-chatops/ferry/internal/blueprint"
	"github.com/ferry-chatops/ferry/internal/command"
	"github.com/ferry-chatops/ferry/internal/operation"
)

// Limits of a folder of blueprints. The largest of ferry's own has 3,000 bytes.
const (
	maxFile  = 64 << 10 // bytes
	maxFiles = 100
)

const (
	patience   = 2 * time.Second // how long answers wait for what is fetched
	retryAfter = time.Minute     // a fetch that failed
	maxSources = 32              // kept; hosts have one or two
)

// A Loader reads and keeps the blueprints of sources. It is safe for concurrent use.
type Loader struct {
	own  *blueprint.Set
	from fetch.Fetcher
	log  *slog.Logger
	now  func() time.Time
	wait time.Duration

	mu      sync.Mutex
	entries map[string]*entry
}

// limits of an archive of blueprints.
var limits = fetch.Limits{Archive: 8 << 20, Unpacked: 32 << 20, Entries: 5000}

const fetchTimeout = time.Minute

// Own are ferry's own blueprints.
func Own() (*blueprint.Set, error) {
	own, err := blueprint.Load(blueprints.Files)
	if err != nil {
		return nil, fmt.Errorf("load blueprints: %w", err)
	}
	return own, nil
}

// Source is the file of one of ferry's own blueprints.
func Source(name string) ([]byte, error) {
	own, err := Own()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(own.Names(), name) {
		return nil, unknown(own)
	}
	return fs.ReadFile(blueprints.Files, name+".yaml")
}

func unknown(own *blueprint.Set) error {
	return fmt.Errorf("ferry has no such blueprint: there are %s", strings.Join(own.Names(), ", "))
}

// New makes a Loader of blueprints to put in the place of own.
func New(own *blueprint.Set, trees fetch.Trees, now func() time.Time, log *slog.Logger) *Loader {
	from := fetch.Fetcher{Trees: trees, Client: fetch.Client(http.DefaultTransport), Limits: limits}
	return &Loader{own: own, from: from, log: log, now: now, wait: patience, entries: map[string]*entry{}}
}

// An entry is what is known of one source.
type entry struct {
	mu     sync.Mutex
	set    *blueprint.Set // nil: ferry's own
	faults []string
	stamp  string // of the folder that was read
	tried  time.Time
	done   chan struct{} // closed when the last fetch ended; nil before the first
}

// Set gives the blueprints of a source, ferry's own in the place of those that are missing or wrong. What is wrong goes
// to the log when it is found, and again only when it changes. A folder is read again when its files have changed. An
// archive or commit is fetched once; an answer waits two seconds for it at most, and has ferry's own until it is there.
func (l *Loader) Set(ctx context.Context, source string) *blueprint.Set {
	set, _ := l.load(ctx, source)
	return set
}

// load gives the blueprints of a source and what is wrong with it as it is now. One that is still being fetched has that
// fault.
func (l *Loader) load(ctx context.Context, text string) (*blueprint.Set, []string) {
	address, err := fetch.Parse(text)
	if err != nil {
		return l.own, []string{err.Error()}
	}
	l.mu.Lock()
	e := l.entries[text]
	if e == nil {
		if len(l.entries) >= maxSources {
			clear(l.entries)
		}
		e = &entry{}
		l.entries[text] = e
	}
	l.mu.Unlock()
	if address.Folder() != "" {
		return l.folder(e, address)
	}
	return l.fetched(ctx, e, address)
}

// folder reads a folder if it is not as it was.
func (l *Loader) folder(e *entry, address fetch.Address) (*blueprint.Set, []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	root, err := os.OpenRoot(address.Folder())
	if err != nil {
		e.stamp = ""
		l.keep(e, address, nil, []string{err.Error()})
		return l.own, e.faults
	}
	defer root.Close()
	if now := stamp(root.FS()); now != e.stamp || now == "" {
		e.stamp = now
		set, faults := Read(l.own, root.FS())
		l.keep(e, address, set, faults)
	}
	return cmp.Or(e.set, l.own), e.faults
}

// stamp changes when a blueprint in a folder does.
func stamp(files fs.FS) string {
	names, err := names(files)
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, name := range names {
		if about, err := fs.Stat(files, name); err == nil { // through the links that a mounted ConfigMap has
			fmt.Fprintf(&b, "%q %d %d\n", name, about.Size(), about.ModTime().UnixNano())
		} else {
			fmt.Fprintf(&b, "%q ?\n", name)
		}
	}
	return b.String()
}

// fetched starts a fetch if one is due, and waits a little for it.
func (l *Loader) fetched(ctx context.Context, e *entry, address fetch.Address) (*blueprint.Set, []string) {
	e.mu.Lock()
	running := false
	if e.done != nil {
		select {
		case <-e.done:
		default:
			running = true
		}
	}
	if e.set == nil && !running && (e.done == nil || l.now().Sub(e.tried) >= retryAfter) {
		e.tried, e.done = l.now(), make(chan struct{})
		go l.learn(e, address, e.done)
	}
	done, wait := e.done, l.wait-l.now().Sub(e.tried)
	e.mu.Unlock()

	timer := time.NewTimer(max(0, wait))
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.set == nil && len(e.faults) == 0 {
		return l.own, []string{"they are being fetched"}
	}
	return cmp.Or(e.set, l.own), e.faults
}

func (l *Loader) learn(e *entry, address fetch.Address, done chan struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	var set *blueprint.Set
	var faults []string
	fetch := func(int) error {
		return l.from.Fetch(ctx, address, func(files fs.FS) { set, faults = Read(l.own, files) })
	}
	if err := operation.Together(1, fetch)[0]; err != nil { // a panic too, which would end the process here
		set, faults = nil, []string{err.Error()}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	l.keep(e, address, set, faults)
}

// keep remembers what was read, and logs faults that are new.
func (l *Loader) keep(e *entry, address fetch.Address, set *blueprint.Set, faults []string) {
	for _, fault := range faults {
		if !slices.Contains(e.faults, fault) {
			l.log.Warn("blueprint not used, ferry's own is", "source", address.String(), "fault", fault)
		}
	}
	e.set, e.faults = set, faults
}

// Read puts the blueprints at the root of files in the place of own. Those with faults are left out; faults name them.
func Read(own *blueprint.Set, files fs.FS) (set *blueprint.Set, faults []string) {
	names, err := names(files)
	if err != nil {
		return own, []string{err.Error()}
	}
	set = own
	if len(names) > maxFiles {
		return own, []string{fmt.Sprintf("%d files, where %d are the limit", len(names), maxFiles)}
	}
	for _, file := range names {
		with, err := read(set, files, file)
		if err != nil {
			faults = append(faults, file+": "+strings.Join(strings.Fields(err.Error()), " "))
			continue
		}
		set = with
	}
	if len(names) == 0 {
		faults = []string{"no *.yaml there"}
	}
	return set, faults
}

// File puts the blueprint in a file of the machine in the place of own's of a name.
func File(own *blueprint.Set, name, file string) (*blueprint.Set, error) {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return readAs(own, root.FS(), filepath.Base(file), name)
}

// names are those of the YAML files at the root, sorted.
func names(files fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, fmt.Errorf("list blueprints: %w", err)
	}
	var names []string
	for _, e := range entries {
		if ext := path.Ext(e.Name()); (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func read(set *blueprint.Set, files fs.FS, file string) (*blueprint.Set, error) {
	name, ok := strings.CutSuffix(file, ".yaml")
	if !ok {
		return nil, errors.New("the name of a blueprint ends with .yaml")
	}
	if !slices.Contains(set.Names(), name) {
		return nil, unknown(set)
	}
	return readAs(set, files, file, name)
}

func readAs(set *blueprint.Set, files fs.FS, file, name string) (*blueprint.Set, error) {
	raw, err := content(files, file)
	if err != nil {
		return nil, err
	}
	var value any
	if err := yaml.UnmarshalStrict(raw, &value); err != nil {
		return nil, err
	}
	if schema, err := schema(); err != nil {
		return nil, err
	} else if err := schema.Validate(value); err != nil {
		return nil, err
	}
	with, err := set.With(name, raw)
	if err != nil {
		return nil, err
	}
	return with, try(with, name)
}

// content reads a file, but nothing that could keep the reader waiting.
func content(files fs.FS, file string) ([]byte, error) {
	about, err := fs.Stat(files, file)
	if err != nil {
		return nil, err
	}
	if !about.Mode().IsRegular() {
		return nil, errors.New("not a file")
	}
	f, err := files.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("larger than %d KiB", maxFile>>10)
	}
	return raw, nil
}

var schema = sync.OnceValues(func() (*jsonschema.Resolved, error) {
	raw, err := fs.ReadFile(blueprints.Files, "schema.json")
	if err != nil {
		return nil, err
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("read the blueprints' schema: %w", err)
	}
	return s.Resolve(nil)
})

// try shows the samples of a blueprint, and reads the commands that it makes of them.
func try(set *blueprint.Set, name string) error {
	for _, data := range samples()[name] {
		for _, platform := range []blueprint.Platform{{Interactive: true, Plugin: "ferry"}, {Plugin: "ferry"}} {
			messages, err := set.Messages(name, data, platform)
			if err != nil {
				return err
			}
			for _, m := range messages {
				m.ReplaceBotNamePlaceholder("@ferry")
				for _, s := range m.Sections {
					for _, b := range s.Buttons {
						foreign := !strings.HasPrefix(b.Command, "@ferry ferry ")
						if _, err := command.Parse(b.Command); err != nil && b.URL == "" && !foreign {
							return fmt.Errorf("button %q: %w", b.Name, err)
						}
					}
					for _, c := range s.Selects.Items {
						for _, o := range c.OptionGroups[0].Options {
							if _, err := command.Parse(c.Command + " " + o.Value); err != nil {
								return fmt.Errorf("select %q: %w", c.Name, err)
							}
						}
					}
				}
			}
		}
	}
	return nil
}
