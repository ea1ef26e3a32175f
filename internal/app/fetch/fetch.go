// Package fetch gets what an operator or user keeps elsewhere: a folder, a commit of a Git repository or an archive, by
// one address. What comes over the network is pinned, and bounded in size.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/go-getter/v2"
)

// Limits of an archive.
type Limits struct {
	Archive, Unpacked int64 // bytes, downloaded and unpacked
	Entries           int
}

const maxRedirects = 5

// An Address says where files are. Make one with Parse.
type Address struct {
	folder   string // an absolute path; the others are empty then
	remote   string // URL without the pin
	commit   string // of a Git repository; empty for an archive
	checksum string // of an archive: SHA-256, hexadecimal
	subdir   string // within, a valid fs.FS path
}

var (
	commitID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	sha256ID = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	archives = regexp.MustCompile(`\.(tar\.gz|tgz|zip)$`)
)

// Parse reads a source in go-getter's words:
//
//	/etc/ferry/blueprints
//	git::https://HOST/REPOSITORY.git//FOLDER?ref=COMMIT
//	https://HOST/FILE.tar.gz//FOLDER?checksum=sha256:SUM
//
// //FOLDER may be missing. What is fetched is pinned, by a whole commit id or a checksum. An error is a sentence's end that
// does not repeat the source: somebody could have put a password there.
func Parse(text string) (Address, error) {
	if filepath.IsAbs(text) {
		return Address{folder: filepath.Clean(text)}, nil
	}
	rest, isGit := strings.CutPrefix(text, "git::")
	rest, subdir := getter.SourceDirSubdir(rest)
	u, err := url.Parse(rest)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.Opaque != "" {
		return Address{}, errors.New("write the absolute path of a folder, git::https://HOST/REPOSITORY.git//FOLDER?ref=COMMIT, or https://HOST/FILE.tar.gz//FOLDER?checksum=sha256:SUM")
	}
	query, err := url.ParseQuery(u.RawQuery)
	pin := "checksum"
	if isGit {
		pin = "ref"
	}
	value := query.Get(pin)
	if len(query[pin]) < 2 {
		delete(query, pin)
	}
	switch {
	case u.User != nil:
		return Address{}, errors.New("credentials have no place in an address")
	case err != nil || len(query) > 0 || u.Fragment != "":
		return Address{}, fmt.Errorf("nothing but %s may follow the address", pin)
	case isGit && !commitID.MatchString(value):
		return Address{}, errors.New("it is not pinned: write the whole id of a commit, ?ref= and 40 digits of 0-9 and a-f; a branch or a tag can be moved")
	case !isGit && !archives.MatchString(u.Path):
		return Address{}, errors.New("an archive is a .tar.gz, .tgz or .zip; for a Git repository write git:: before the address")
	case !isGit && !sha256ID.MatchString(value):
		return Address{}, errors.New("it is not pinned: write the archive's checksum, ?checksum=sha256: and 64 digits of 0-9 and a-f")
	case subdir != "" && !fs.ValidPath(subdir):
		return Address{}, errors.New("the folder behind // leads out of the source")
	}
	u.RawQuery = ""
	s := Address{remote: u.String(), subdir: subdir}
	if isGit {
		s.commit = value
	} else {
		s.checksum = strings.TrimPrefix(value, "sha256:")
	}
	return s, nil
}

// Folder is the absolute path of a folder on this machine, or empty.
func (s Address) Folder() string { return s.folder }

// String names the address for people.
func (s Address) String() string {
	if s.folder != "" {
		return s.folder
	}
	if s.subdir != "" {
		return s.remote + "//" + s.subdir
	}
	return s.remote
}

// A Fetcher fetches what is not on this machine.
type Fetcher struct {
	Trees  Trees
	Client *http.Client // made by Client
	Limits Limits
}

// Trees reads the files of a commit in the repository at an https URL.
type Trees func(ctx context.Context, remote, header, commit string) (fs.FS, error)

// Fetch fetches a source and has its files used while they are there.
//
// Git goes through package git: go-getter's own reads the user's and the machine's configuration, gives git the whole
// environment of this process, finds it in PATH, which is empty here, runs filters and submodules, and has no limit of size.
func (f Fetcher) Fetch(ctx context.Context, s Address, use func(fs.FS)) error {
	if s.commit == "" {
		return f.archive(ctx, s, use)
	}
	files, err := f.Trees(ctx, s.remote, "", s.commit)
	if err != nil {
		return err
	}
	return below(files, s.subdir, use)
}

func below(files fs.FS, subdir string, use func(fs.FS)) error {
	if subdir != "" {
		about, err := fs.Stat(files, subdir)
		if err != nil || !about.IsDir() {
			return fmt.Errorf("there is no folder %s in it", subdir)
		}
		if files, err = fs.Sub(files, subdir); err != nil {
			return err
		}
	}
	use(files)
	return nil
}

// archive unpacks an archive into a directory that does not outlive the call.
func (f Fetcher) archive(ctx context.Context, s Address, use func(fs.FS)) (err error) {
	defer func() {
		if cause := recover(); cause != nil { // go-getter 2.2.5 panics at a zip file with a method that Go does not know
			err = fmt.Errorf("unpack %s: %v", s.remote, cause)
		}
	}()
	dir, err := os.MkdirTemp("", "ferry-archive-")
	if err != nil {
		return fmt.Errorf("make a directory for an archive: %w", err)
	}
	defer os.RemoveAll(dir)
	limited := getter.LimitedDecompressors(f.Limits.Entries, f.Limits.Unpacked)
	c := getter.Client{
		Getters: []getter.Getter{&getter.HttpGetter{
			Client: f.Client, MaxBytes: f.Limits.Archive, XTerraformGetDisabled: true, DoNotCheckHeadFirst: true, ReadTimeout: time.Minute,
		}},
		Decompressors:   map[string]getter.Decompressor{"tar.gz": limited["tar.gz"], "tgz": limited["tgz"], "zip": limited["zip"]},
		DisableSymlinks: true,
	}
	unpacked := filepath.Join(dir, "files")
	if _, err := c.Get(ctx, &getter.Request{Src: s.remote + "?checksum=sha256:" + s.checksum, Dst: unpacked, GetMode: getter.ModeDir}); err != nil {
		return fmt.Errorf("fetch %s: %w", s.remote, err)
	}
	root, err := os.OpenRoot(unpacked)
	if err != nil {
		return fmt.Errorf("open what was unpacked: %w", err)
	}
	defer root.Close()
	return below(root.FS(), s.subdir, use)
}

// Client follows redirects to https only: an archive's checksum says what it is, but not what a request gives away.
func Client(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, CheckRedirect: func(next *http.Request, before []*http.Request) error {
		if next.URL.Scheme != "https" || len(before) > maxRedirects {
			return errors.New("redirected too often, or to another protocol than https")
		}
		return nil
	}}
}
