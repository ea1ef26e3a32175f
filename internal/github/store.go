package github

import (
	"bytes"
	"compress/flate"
	"container/list"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"unique"
)

// overhead is about what an entry takes beside its body.
const overhead = 600

// errLost says that a kept body is not there any more, or spoilt.
var errLost = errors.New("a kept answer is lost")

// An entry is an answer that is kept. It does not change once it is in a store.
type entry struct {
	key  digest
	auth digest // of the header Authorization that it was last confirmed for
	sum  digest // of the body
	etag string
	vary string // the header
	link string // the header
	kind string // the header Content-Type
	size int    // of the body

	packed []byte // the body; nil where the disk has it, or nobody
	disk   int64  // bytes of its file; 0 without
	stub   bool   // of a process before: all but key and disk are still to be read
}

// texts are the bytes of its headers.
func (e *entry) texts() int { return len(e.etag) + len(e.vary) + len(e.link) + len(e.kind) }

// whole says that the body is kept.
func (e *entry) whole() bool { return e.packed != nil || e.disk > 0 }

// A store keeps answers within bounds; those that were not asked for longest go first. Without their bodies, which go
// before the rest, polls still learn that nothing has changed. With a disk the bodies are there alone.
type store struct {
	limit, room int64 // bytes of memory, and of that for bodies
	disk        *Disk // nil without

	mu      sync.Mutex
	entries map[digest]*place
	recent  *list.List // of all places, the latest at the front
	bodies  *list.List // of those whose body is in memory, too
	memory  int64      // bytes
	packed  int64      // of bodies, of that
	files   int64      // bytes on disk

	packing sync.Mutex // one at a time: a packer has 1 MB
	packer  *flate.Writer
}

// A place is where an entry is in the lists.
type place struct {
	entry        *entry
	recent, body *list.Element // body is nil where it is not in memory
}

func newStore(limit, room int64, d *Disk) *store {
	s := &store{limit: limit, room: room, disk: d, entries: map[digest]*place{}, recent: list.New(), bodies: list.New()}
	if d != nil {
		for _, f := range d.list() {
			s.put(&entry{key: f.key, disk: f.size, stub: true})
		}
	}
	return s
}

// find returns what is kept under a key, or nil.
func (s *store) find(key digest) *entry {
	s.mu.Lock()
	at := s.entries[key]
	if at == nil {
		s.mu.Unlock()
		return nil
	}
	s.recent.MoveToFront(at.recent)
	if at.body != nil {
		s.bodies.MoveToFront(at.body)
	}
	e := at.entry
	s.mu.Unlock()
	if !e.stub {
		return e
	}
	loaded, _, err := s.disk.read(key)
	if err != nil {
		s.forget(key)
		return nil
	}
	s.put(&loaded)
	return &loaded
}

// keep stores an answer, with its body if that is useful or there is a disk.
func (s *store) keep(key digest, e entry, raw []byte, useful bool) *entry {
	e.key, e.size = key, len(raw)
	e.vary, e.kind = unique.Make(e.vary).Value(), unique.Make(e.kind).Value() // a few texts, a thousand times
	if useful || s.disk != nil {
		e.packed = s.pack(raw)
	}
	return s.amend(key, e)
}

// amend replaces an entry by one with the same body.
func (s *store) amend(key digest, e entry) *entry {
	e.key = key
	if s.disk != nil && e.whole() {
		packed := e.packed
		if packed == nil {
			var err error
			if _, packed, err = s.disk.read(key); err != nil {
				s.forget(key)
				return &e
			}
		}
		if size, err := s.disk.write(e, packed); err == nil {
			e.packed, e.disk = nil, size
		} else {
			e.packed, e.disk = packed, 0
		}
	}
	s.put(&e)
	return &e
}

// put makes e the newest entry, and makes room.
func (s *store) put(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.entries[e.key]
	if at == nil {
		at = &place{entry: &entry{}}
		at.recent = s.recent.PushFront(at)
		s.entries[e.key] = at
		s.memory += overhead
	}
	s.recent.MoveToFront(at.recent)
	s.fill(at, e)
	for (s.memory > s.limit || s.packed > s.room) && s.bodies.Len() > 0 {
		at := s.bodies.Back().Value.(*place)
		without := *at.entry
		without.packed = nil
		s.fill(at, &without)
	}
	for s.memory > s.limit || s.disk != nil && s.files > s.disk.limit {
		s.remove(s.recent.Back().Value.(*place))
	}
}

// fill replaces what is in a place. It needs the lock.
func (s *store) fill(at *place, e *entry) {
	s.memory += int64(len(e.packed)+e.texts()) - int64(len(at.entry.packed)+at.entry.texts())
	s.packed += int64(len(e.packed)) - int64(len(at.entry.packed))
	s.files += e.disk - at.entry.disk
	at.entry = e
	if at.body != nil {
		s.bodies.Remove(at.body)
		at.body = nil
	}
	if e.packed != nil {
		at.body = s.bodies.PushFront(at)
	}
}

// remove needs the lock.
func (s *store) remove(at *place) {
	e := at.entry
	s.fill(at, &entry{})
	s.recent.Remove(at.recent)
	delete(s.entries, e.key)
	s.memory -= overhead
	if e.disk > 0 {
		s.disk.remove(e.key)
	}
}

// forget removes what is kept under a key.
func (s *store) forget(key digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.entries[key]; at != nil {
		s.remove(at)
	}
}

// body unpacks the body of an entry. The error is errLost where it is not what it was.
func (s *store) body(e *entry) ([]byte, error) {
	packed := e.packed
	if !e.whole() {
		return nil, errLost
	}
	if packed == nil {
		var err error
		if _, packed, err = s.disk.read(e.key); err != nil {
			return nil, fmt.Errorf("%w: %w", errLost, err)
		}
	}
	raw := make([]byte, e.size)
	if _, err := io.ReadFull(flate.NewReader(bytes.NewReader(packed)), raw); err != nil || sha256.Sum256(raw) != e.sum {
		return nil, errLost // another process may have put another one there
	}
	return raw, nil
}

func (s *store) pack(raw []byte) []byte {
	s.packing.Lock()
	defer s.packing.Unlock()
	var b bytes.Buffer
	if s.packer == nil {
		s.packer, _ = flate.NewWriter(&b, flate.DefaultCompression) // fails for a wrong level alone
	} else {
		s.packer.Reset(&b)
	}
	_, _ = s.packer.Write(raw) // to memory
	_ = s.packer.Close()
	return bytes.Clone(b.Bytes()) // without the room to grow
}

// size is how much is kept.
func (s *store) size() (entries int, memory, files int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries), s.memory, s.files
}
