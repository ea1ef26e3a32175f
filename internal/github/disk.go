package github

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// diskName is the folder that ferry makes within the one it is given, which others may be able to write to.
const diskName = "ferry-answers"

// diskAge is how old a file may be that a process before has left: its address may be asked for no more.
const diskAge = 7 * 24 * time.Hour

// A Disk keeps answers in a folder, a file for each. A file is not written over but replaced, and one that is spoilt
// counts as none: its loss costs one full answer.
//
//	line 1: SHA-256 of what follows, in hexadecimal
//	line 2: a diskEntry in JSON
//	then:   the body, packed
type Disk struct {
	root  *os.Root
	limit int64 // bytes
}

type diskEntry struct {
	Auth, Sum              []byte
	Etag, Vary, Link, Kind string
	Size                   int
}

// A diskFile is one that a process before has left.
type diskFile struct {
	key  digest
	size int64
	when int64
}

// OpenDisk opens a folder of ferry's own within the one of that path, or makes both. Nobody else may look into it.
func OpenDisk(folder string) (*Disk, error) {
	path := filepath.Join(folder, diskName)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for GitHub's answers: %w", err)
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make a folder for GitHub's answers: %w", err)
	}
	about, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("look at the folder for GitHub's answers: %w", err)
	}
	owner, ok := about.Sys().(*syscall.Stat_t)
	if !about.IsDir() || about.Mode().Perm()&0o077 != 0 || !ok || int(owner.Uid) != os.Getuid() {
		return nil, fmt.Errorf("the folder %s for GitHub's answers is open to others", path)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open the folder for GitHub's answers: %w", err)
	}
	if opened, err := root.Stat("."); err != nil || !os.SameFile(about, opened) { // another since
		_ = root.Close() // nothing was done in it
		return nil, fmt.Errorf("the folder %s for GitHub's answers is open to others", path)
	}
	return &Disk{root: root, limit: diskCache}, nil
}

// list returns the files that are there, the oldest first, and removes what is none of ours.
func (d *Disk) list() (files []diskFile) {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		name, err := hex.DecodeString(e.Name())
		about, gone := e.Info()
		if err != nil || gone != nil || len(name) != sha256.Size || !about.Mode().IsRegular() || time.Since(about.ModTime()) > diskAge {
			_ = d.root.RemoveAll(e.Name()) // old, or half written when the process ended
			continue
		}
		files = append(files, diskFile{digest(name), about.Size(), about.ModTime().UnixNano()})
	}
	slices.SortFunc(files, func(a, b diskFile) int { return cmp.Compare(a.when, b.when) })
	return files
}

func fileName(key digest) string { return hex.EncodeToString(key[:]) }

// read returns an entry without its body, and the body as it is packed.
func (d *Disk) read(key digest) (entry, []byte, error) {
	f, err := d.root.Open(fileName(key))
	if err != nil {
		return entry{}, nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxBody))
	if err != nil {
		return entry{}, nil, err
	}
	sum, rest, _ := bytes.Cut(content, []byte("\n"))
	if hexSum(rest) != string(sum) {
		return entry{}, nil, errLost
	}
	head, packed, _ := bytes.Cut(rest, []byte("\n"))
	var is diskEntry
	if err := json.Unmarshal(head, &is); err != nil || len(is.Auth) != sha256.Size || len(is.Sum) != sha256.Size || is.Size < 0 || is.Size > maxBody {
		return entry{}, nil, errLost
	}
	return entry{key: key, auth: digest(is.Auth), sum: digest(is.Sum), etag: is.Etag, vary: is.Vary, link: is.Link, kind: is.Kind, size: is.Size,
		disk: int64(len(content))}, packed, nil
}

// write replaces the file of an entry, and returns its size.
func (d *Disk) write(e entry, packed []byte) (int64, error) {
	head, err := json.Marshal(diskEntry{e.auth[:], e.sum[:], e.etag, e.vary, e.link, e.kind, e.size})
	if err != nil {
		return 0, err
	}
	rest := slices.Concat(head, []byte("\n"), packed)
	content := slices.Concat([]byte(hexSum(rest)), []byte("\n"), rest)
	name := fileName(e.key)
	part := name + "." + strings.ToLower(rand.Text())
	err = d.root.WriteFile(part, content, 0o600)
	if err == nil {
		err = d.root.Rename(part, name)
	}
	if err != nil {
		_ = d.root.Remove(part)
		return 0, err
	}
	return int64(len(content)), nil
}

func (d *Disk) remove(key digest) { _ = d.root.Remove(fileName(key)) }

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
