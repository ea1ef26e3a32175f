package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/ferry-chatops/ferry/internal/gitops"
	"github.com/ferry-chatops/ferry/internal/watch"
)

// Documents that are kept beside the watcher's state.
const (
	noticesName = "notices"
	reportName  = "report" // which the executor reads
)

// records keep small documents by name.
type records interface {
	// Read gives a document; where there is none, nothing.
	Read(ctx context.Context, name string) ([]byte, error)
	// Write puts one in the place of what is there.
	Write(ctx context.Context, name string, data []byte) error
}

// state is what is kept over restarts.
type state struct {
	store   watch.Store // nil where it could not be opened
	records records     // nil likewise
	journal string      // path; empty: none
	answers string      // folder for GitHub's answers, where none is configured; empty: none

	mu    sync.Mutex
	notes map[string]bool // notices that a stream was told, by stream and digest; nil before they are read
}

// digest tells notices apart.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// unwritable says, for people, why nothing can be put on record, if so. It is found out by doing it.
func (s *state) unwritable(ctx context.Context) *gitops.Refusal {
	if s.records == nil {
		return nil // which was told
	}
	s.told(ctx, "", "")
	s.mu.Lock()
	defer s.mu.Unlock()
	raw, err := json.Marshal(s.notes)
	if err == nil {
		err = s.records.Write(ctx, noticesName, raw)
	}
	if err == nil || ctx.Err() != nil {
		return nil
	}
	return forgetful(err)
}

// forgetful words for people why nothing can be put on record.
func forgetful(err error) *gitops.Refusal {
	refusal := &gitops.Refusal{Code: gitops.Config, Title: "ferry cannot keep what it saw", Reason: "Nothing is told before it can, so that nothing is told twice or lost: " + err.Error() + "."}
	if known, ok := errors.AsType[*gitops.Refusal](err); ok {
		refusal.Code, refusal.Snippet = known.Code, known.Snippet
		refusal.Reason = "Nothing is told before it can, so that nothing is told twice or lost. " + known.Reason
	}
	return refusal
}

// told says whether a stream was told a notice before, in this process or one before.
func (s *state) told(ctx context.Context, stream, notice string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.notes == nil {
		s.notes = map[string]bool{}
		if s.records != nil {
			if raw, err := s.records.Read(ctx, noticesName); err == nil && len(raw) > 0 {
				_ = json.Unmarshal(raw, &s.notes) // what cannot be read was not told
			}
		}
	}
	return s.notes[stream+" "+digest(notice)]
}

// tell remembers that a stream was told a notice.
func (s *state) tell(ctx context.Context, stream, notice string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes[stream+" "+digest(notice)] = true
	s.save(ctx)
}

// forget leaves of the notices that were told those that still hold: the others are news when they come again.
func (s *state) forget(ctx context.Context, notices []*gitops.Refusal) {
	s.told(ctx, "", "") // reads them
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for note := range s.notes {
		kept := false
		for _, n := range notices {
			kept = kept || len(note) > 16 && note[len(note)-16:] == digest(n.Error())
		}
		if !kept {
			delete(s.notes, note)
			changed = true
		}
	}
	if changed {
		s.save(ctx)
	}
}

func (s *state) save(ctx context.Context) {
	if s.records == nil {
		return
	}
	if raw, err := json.Marshal(s.notes); err == nil {
		_ = s.records.Write(ctx, noticesName, raw) // it is told again after a restart then
	}
}

// scratch is a folder that outlives the process, if not the machine: in the host's pod it is in an emptyDir. There is none
// where others could have put a file, or a link, of that name.
func scratch() string {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("ferry-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return ""
	}
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return ""
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Getuid() {
		return ""
	}
	return dir
}

// journal is the path of the journal of a source whose state is kept in a place. It is the same for another configuration, and
// another token of the host's, which it gets with each restart: what was handed over before is told again otherwise.
func journal(place, dir, name string) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%s.journal", name, digest(place)))
}

// A folder keeps documents in files.
type folder struct{ path string }

func filesOf(dir, name string) folder { return folder{filepath.Join(dir, name)} }

func (f folder) journal() string { return filepath.Join(f.path, "journal") }

// Read gives the content of a file.
func (f folder) Read(_ context.Context, name string) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(f.path, name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return raw, err
}

// Write puts a file in the place of another.
func (f folder) Write(_ context.Context, name string, data []byte) error {
	if err := os.MkdirAll(f.path, 0o700); err != nil {
		return err
	}
	fresh := filepath.Join(f.path, name+".json.new")
	if err := os.WriteFile(fresh, data, 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, filepath.Join(f.path, name+".json"))
}

// A memory keeps shards and documents until the end of the process.
type memory struct {
	mu     sync.Mutex
	writes int
	kept   map[string]document
}

type document struct {
	data    []byte
	version string
}

func newMemory() *memory { return &memory{kept: map[string]document{}} }

// Load gives a shard.
func (m *memory) Load(_ context.Context, shard int) ([]byte, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.kept[strconv.Itoa(shard)]
	return d.data, d.version, nil
}

// Save keeps a shard.
func (m *memory) Save(_ context.Context, shard int, data []byte, version string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := strconv.Itoa(shard)
	if m.kept[name].version != version {
		return "", watch.ErrConflict
	}
	m.writes++
	m.kept[name] = document{data, strconv.Itoa(m.writes)}
	return m.kept[name].version, nil
}

// Read gives a document.
func (m *memory) Read(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept[name].data, nil
}

// Write keeps a document.
func (m *memory) Write(_ context.Context, name string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[name] = document{data: data}
	return nil
}
