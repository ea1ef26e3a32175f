package watch

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// A record is what is stored of a repository, or, with an empty name, what concerns all. It is never changed once others can
// see it: a new one takes its place.
type record struct {
	ID   int64  `json:"id,omitempty"` // GitHub's number; zero until a pull request told it
	Name string `json:"name"`
	// Generation counts what was found: of two versions of a record, the higher one holds.
	Generation uint64        `json:"generation"`
	Cursor     time.Time     `json:"cursor,omitzero"`   // the newest change seen, by GitHub's clock
	Complete   time.Time     `json:"complete,omitzero"` // when all open ones were read, by ours
	Pulls      []fingerprint `json:"pulls,omitempty"`   // by number
	Outbox     []entry       `json:"outbox,omitempty"`  // oldest first; those that are delivered too, for a while
	Common     *shared       `json:"common,omitempty"`  // of the record without a name
}

// shared is what concerns no single repository.
type shared struct {
	Streams  map[string]time.Time `json:"streams,omitempty"`  // by id, when they were there last
	Shards   []int                `json:"shards,omitempty"`   // that hold anything
	Problems map[string]told      `json:"problems,omitempty"` // by repository, that people know of
}

type told struct {
	Trouble Trouble   `json:"trouble"`
	Since   time.Time `json:"since"`
}

// An entry is an event on record.
type entry struct {
	ID        string    `json:"id"` // random
	Created   time.Time `json:"created"`
	To        []string  `json:"to,omitempty"`        // streams it is for; none: any that comes
	Delivered []string  `json:"delivered,omitempty"` // streams that have it
	Done      bool      `json:"done,omitempty"`      // all have it, so only a summary is kept
	Event     Event     `json:"event"`
	// Raw is the pull request's, which Event lacks here.
	Raw     json.RawMessage `json:"raw,omitempty"`
	Trimmed bool            `json:"trimmed,omitempty"` // Raw and the files went, to save room
}

// outstanding says whether a stream has yet to get it.
func (e *entry) outstanding(stream string) bool {
	return !e.Done && !slices.Contains(e.Delivered, stream) && (len(e.To) == 0 || slices.Contains(e.To, stream))
}

// event restores what was put on record.
func (e *entry) event() Event {
	event := e.Event
	if event.PullRequest != nil {
		whole := *event.PullRequest
		whole.Raw = e.Raw
		event.PullRequest = &whole
	}
	if e.Trimmed {
		event.Notes = append(slices.Clone(event.Notes), "There was no room to keep GitHub's own description of it and its list of files.")
	}
	return event
}

// trim drops what takes most of the room.
func (e *entry) trim() {
	if e.Raw != nil || e.Event.Files != nil {
		e.Raw, e.Event.Files, e.Trimmed = nil, nil, !e.Done
	}
}

func newEntry(id string, event Event, to []string) entry {
	e := entry{ID: id, Created: event.Found, To: to, Event: event}
	if p := event.PullRequest; p != nil {
		if json.Valid(p.Raw) {
			e.Raw = p.Raw
		}
		bare := *p
		bare.Raw = nil
		e.Event.PullRequest = &bare
	}
	return e
}

// seen says whether what is known is from a look, and not from before the first one.
func (r *record) seen() bool {
	return !r.Cursor.IsZero() || !r.Complete.IsZero()
}

// pull finds a known pull request.
func (r *record) pull(number int) *fingerprint {
	i, found := slices.BinarySearchFunc(r.Pulls, number, func(f fingerprint, n int) int { return cmp.Compare(f.Number, n) })
	if !found {
		return nil
	}
	return &r.Pulls[i]
}

// with gives a record's fingerprints after some are new, without those that were closed before a time.
func (r *record) with(fresh map[int]fingerprint, forget time.Time) []fingerprint {
	fresh = maps.Clone(fresh)
	for _, f := range r.Pulls {
		if _, has := fresh[f.Number]; !has {
			fresh[f.Number] = f
		}
	}
	pulls := slices.Collect(maps.Values(fresh))
	pulls = slices.DeleteFunc(pulls, func(f fingerprint) bool { return f.State != stateOpen && f.Closed.Before(forget) })
	slices.SortFunc(pulls, func(a, b fingerprint) int { return cmp.Compare(a.Number, b.Number) })
	return pulls
}

// header begins a stored shard, and names its form. Behind it, each record is its length in four bytes, the first the highest,
// and gzip of its JSON: so a record that did not change need not be written anew, and one that is broken spoils no other.
const header = "ferry watch 1\n"

const (
	// roomy is the size of a shard beyond which records move to another. A ConfigMap takes 1 MiB.
	roomy = 800_000
	// full is the size beyond which nothing more is put on record.
	full = 1_000_000
	// largest is the size of a shard's records, unpacked, beyond which they were not written by ferry.
	largest = 64 << 20
)

// errBroken is a stored record, or shard, that cannot be read.
var errBroken = errors.New("stored state is broken")

// newPacker makes what pack writes with: it has a megabyte of its own, so it is used again.
func newPacker() *gzip.Writer {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // there is such a level
	return z
}

// pack writes a record for a shard.
func (r *record) pack(z *gzip.Writer) ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 4))
	z.Reset(&b)
	if err := errors.Join(json.NewEncoder(z).Encode(r), z.Close()); err != nil {
		return nil, fmt.Errorf("write record of %s: %w", r.Name, err)
	}
	packed := bytes.Clone(b.Bytes()) // without the room to grow
	binary.BigEndian.PutUint32(packed, uint32(len(packed)-4))
	return packed, nil
}

// unpackedSize is that of a packed record, which gzip writes behind it.
func unpackedSize(packed []byte) int64 {
	return int64(binary.LittleEndian.Uint32(packed[len(packed)-4:]))
}

// unpack reads a shard. With an error, the records are those that can be read.
func unpack(data []byte) ([]*record, error) {
	rest, ok := bytes.CutPrefix(data, []byte(header))
	if !ok {
		return nil, errBroken
	}
	var records []*record
	var broken error
	for room := int64(largest); len(rest) > 0; {
		if len(rest) < 4 || int64(binary.BigEndian.Uint32(rest)) > int64(len(rest)-4) {
			return records, errBroken
		}
		n := int(binary.BigEndian.Uint32(rest))
		r, size, err := unpackRecord(rest[4:4+n], room)
		rest = rest[4+n:]
		room -= size
		if err != nil {
			broken = errBroken
			continue
		}
		records = append(records, r)
	}
	return records, broken
}

func unpackRecord(packed []byte, room int64) (*record, int64, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, 0, err
	}
	text, err := io.ReadAll(io.LimitReader(z, room+1))
	if size := int64(len(text)); err != nil || size > room {
		return nil, size, errBroken
	}
	r := new(record)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, int64(len(text)), err
	}
	if (r.Name == "") != (r.Common != nil) {
		return nil, int64(len(text)), errBroken
	}
	slices.SortFunc(r.Pulls, func(a, b fingerprint) int { return cmp.Compare(a.Number, b.Number) })
	return r, int64(len(text)), nil
}

// name is what a repository's record is found by: GitHub's names have no case.
func name(repository string) string { return strings.ToLower(repository) }
