package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"crypto/sha256"
	"encoding/hex"
)

// A Store keeps what watch knows over restarts, in shards that are numbered from 0. A shard is bytes of watch's own form, at
// most about 900 KB; fingerprints, cursor and outbox of a repository are always in the same, so that one write changes all.
type Store interface {
	// Load reads a shard and its version. Where there is none, both are empty.
	Load(ctx context.Context, shard int) (data []byte, version string, err error)
	// Save writes a shard, if it still has the version that was read, and gives its new version. An empty version means that
	// there is none yet. ErrConflict means that somebody else wrote or removed it.
	Save(ctx context.Context, shard int, data []byte, version string) (string, error)
}

// ErrConflict is what Save answers where the stored version is another.
var ErrConflict = errors.New("state was changed by somebody else")

// Files is a Store in a directory, for a host without a cluster. Its directory belongs to one process at a time.
type Files struct {
	Directory string

	mutex sync.Mutex
}

// Load reads a file; its version is the hash of its content.
func (f *Files) Load(_ context.Context, shard int) ([]byte, string, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.load(shard)
}

func (f *Files) load(shard int) ([]byte, string, error) {
	data, err := os.ReadFile(f.path(shard))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read state: %w", err)
	}
	return data, version(data), nil
}

// Save replaces a file: a reader sees the old one or the new one.
func (f *Files) Save(_ context.Context, shard int, data []byte, was string) (string, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	_, is, err := f.load(shard)
	if err != nil {
		return "", err
	}
	if is != was {
		return "", ErrConflict
	}
	if err := os.MkdirAll(f.Directory, 0o700); err != nil {
		return "", fmt.Errorf("write state: %w", err)
	}
	if err := replace(f.path(shard), data); err != nil {
		return "", fmt.Errorf("write state: %w", err)
	}
	return version(data), nil
}

func (f *Files) path(shard int) string {
	return filepath.Join(f.Directory, "shard-"+strconv.Itoa(shard))
}

func version(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// replace writes a file under another name first.
func replace(path string, data []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = temporary.Write(data)
	if err = errors.Join(err, temporary.Sync(), temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
	}
	return err
}
