package overrides

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ferry-chatops/ferry/blueprints"
	"github.com/ferry-chatops/ferry/internal/app/fetch"
	"github.com/ferry-chatops/ferry/internal/blueprint"
	"github.com/ferry-chatops/ferry/internal/git"
)

const mine = "sections: [{header: Mine}]"

// TestFerrysOwnPass: each of ferry's own blueprints could be an operator's, and has samples that try it.
func TestFerrysOwnPass(t *testing.T) {
	own := embedded(t)
	if _, faults := Read(own, blueprints.Files); len(faults) > 0 {
		t.Error(faults)
	}
	for _, name := range own.Names() {
		if len(samples()[name]) < 2 {
			t.Errorf("%s has %d samples", name, len(samples()[name]))
		}
	}
}

func embedded(t *testing.T) *blueprint.Set {
	t.Helper()
	own, err := blueprint.Load(blueprints.Files)
	if err != nil {
		t.Fatal(err)
	}
	return own
}

func TestReadRefuses(t *testing.T) {
	own := embedded(t)
	for name, tc := range map[string]struct{ file, text, want string }{
		"an unknown name":              {"cards.yaml", mine, "no such blueprint"},
		"another extension":            {"card.yml", mine, "ends with .yaml"},
		"no YAML":                      {"card.yaml", "sections: [", "did not find"},
		"an unknown key":               {"card.yaml", "sections: [{haeder: x}]", "haeder"},
		"a key that is missing":        {"card.yaml", "sections: [{buttons: [{command: list}]}]", "name"},
		"a key twice":                  {"card.yaml", "sections: [{header: x}]\nsections: [{header: y}]", "already"},
		"nothing":                      {"card.yaml", "", "type"},
		"an unknown function":          {"card.yaml", `sections: [{header: '{{ env "HOME" }}'}]`, "env"},
		"a field that there is not":    {"card.yaml", "sections: [{header: '{{ .Application }}'}]", "Application"},
		"one only sometimes asked for": {"card.yaml", "sections: [{header: '{{ if .Rollback }}{{ .Nothing }}{{ end }}x'}]", "Nothing"},
		"a command that is none":       {"card.yaml", "sections: [{header: x, buttons: [{name: Do, command: deploy}]}]", `button "Do"`},
		"a select of no command":       {"list.yaml", "sections: [{header: x, selects: [{name: Do, command: deploy, options: [{name: a, value: a}]}]}]", `select "Do"`},
		"a refresh of what is none":    {"list.yaml", "sections: [{header: x, buttons: [{name: Do, command: list, replace: 'true'}]}]", `button "Do"`},
		"an endless loop":              {"list.yaml", "sections: [{header: '{{ range 99999999999 }}{{ end }}x'}]", "steps"},
		"a bomb of aliases":            {"list.yaml", bomb(), "list.yaml"},
		"much":                         {"list.yaml", mine + strings.Repeat("\n# comment", 10_000), "64 KiB"},
		"nothing shown":                {"list.yaml", "sections: [{when: 'false', header: x}]", "shows nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			set, faults := Read(own, fstest.MapFS{tc.file: {Data: []byte(tc.text)}, "help.yaml": {Data: []byte(mine)}})
			if len(faults) != 1 || !strings.HasPrefix(faults[0], tc.file+": ") || !strings.Contains(faults[0], tc.want) || strings.Contains(faults[0], "\n") {
				t.Errorf("faults %q, want one with %q", faults, tc.want)
			}
			if !shows(set, "Mine") {
				t.Error("the file beside it is not used")
			}
			for _, name := range []string{"card", "list"} {
				if err := try(set, name); err != nil {
					t.Errorf("ferry's own is gone: %v", err)
				}
			}
		})
	}
	if _, faults := Read(own, fstest.MapFS{"README.md": {Data: []byte("x")}}); len(faults) != 1 {
		t.Errorf("no blueprint at all: %q", faults)
	}
}

func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := range 9 {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	return b.String() + "sections: *a9\n"
}

// shows says whether the answer to help begins with a header.
func shows(set *blueprint.Set, header string) bool {
	messages, err := set.Messages("help", samples()["help"][0], blueprint.Platform{Interactive: true, Plugin: "ferry"})
	return err == nil && messages[0].Sections[0].Header == header
}

// A desk is a Loader whose log and clock can be seen.
type desk struct {
	*Loader
	logged *bytes.Buffer
	ahead  time.Duration
}

func newDesk(t *testing.T, trees fetch.Trees) *desk {
	t.Helper()
	d := &desk{logged: &bytes.Buffer{}}
	d.Loader = New(embedded(t), trees, func() time.Time { return time.Now().Add(d.ahead) }, slog.New(slog.NewTextHandler(d.logged, nil)))
	d.wait = retryAfter / 2 // a test waits as long as it takes
	return d
}

func (d *desk) warnings() int { return strings.Count(d.logged.String(), "level=WARN") }

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFolder(t *testing.T) {
	d, dir := newDesk(t, nil), filepath.Join(t.TempDir(), "blueprints")
	expect := func(header string, faults, warnings int) {
		t.Helper()
		for range 2 {
			if set := d.Set(t.Context(), dir); !shows(set, header) {
				t.Errorf("it does not show %s", header)
			}
		}
		if _, got := d.load(t.Context(), dir); len(got) != faults || d.warnings() != warnings {
			t.Errorf("faults %q; %d warnings, want %d:\n%s", got, d.warnings(), warnings, d.logged)
		}
	}
	const ferrys = "ferry moves releases between environments"
	expect(ferrys, 1, 1) // there is no folder
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	help := filepath.Join(dir, "help.yaml")
	write(t, help, mine)
	expect("Mine", 0, 1)
	write(t, help, "sections: [{header: Changed}]")
	expect("Changed", 0, 1)
	write(t, filepath.Join(dir, "card.yaml"), "sections: []")
	expect("Changed", 1, 2)
	write(t, help, "sections: [{header: '{{ .Wrong }}'}]")
	expect(ferrys, 2, 3)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	expect(ferrys, 1, 4)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, help, mine)
	expect("Mine", 0, 4)
}

// TestFolderAsKubernetesMountsIt: a ConfigMap's files are links to a folder that is replaced as a whole.
func TestFolderAsKubernetesMountsIt(t *testing.T) {
	d, dir := newDesk(t, nil), t.TempDir()
	link := func(from, to string) {
		t.Helper()
		if err := errors.Join(os.Symlink(to, from+".new"), os.Rename(from+".new", from)); err != nil {
			t.Fatal(err)
		}
	}
	for i, header := range []string{"One", "Two"} {
		version := fmt.Sprintf("..v%d", i)
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, version, "help.yaml")
		write(t, file, "sections: [{header: "+header+"}]")
		when := time.Now().Add(time.Duration(i) * time.Second)
		if err := os.Chtimes(file, when, when); err != nil {
			t.Fatal(err)
		}
		link(filepath.Join(dir, "..data"), version)
		link(filepath.Join(dir, "help.yaml"), "..data/help.yaml")
		if set, faults := d.load(t.Context(), dir); !shows(set, header) || len(faults) > 0 {
			t.Errorf("it does not show %s: %q", header, faults)
		}
	}
}

func TestFolderHoldsStrangers(t *testing.T) {
	d, dir := newDesk(t, nil), t.TempDir()
	outside := filepath.Join(t.TempDir(), "help.yaml")
	write(t, outside, mine)
	if err := errors.Join(
		os.Symlink(outside, filepath.Join(dir, "help.yaml")),
		syscall.Mkfifo(filepath.Join(dir, "card.yaml"), 0o600),
		os.Mkdir(filepath.Join(dir, "list.yaml"), 0o700),
		os.Symlink("diff.yaml", filepath.Join(dir, "diff.yaml")),
	); err != nil {
		t.Fatal(err)
	}
	set, faults := d.load(t.Context(), dir)
	if shows(set, "Mine") || len(faults) != 4 {
		t.Errorf("faults %q", faults)
	}
}

// A host serves archives over TLS.
type host struct {
	*httptest.Server
	files map[string][]byte
	asked atomic.Int32
}

func serve(t *testing.T, d *desk) *host {
	t.Helper()
	h := &host{files: map[string][]byte{}}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.asked.Add(1)
		if r.URL.Query().Has("terraform-get") {
			t.Errorf("go-getter asks to be led elsewhere: %s", r.URL)
		}
		content, ok := h.files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(content)
	}))
	t.Cleanup(h.Close)
	d.from.Client = fetch.Client(h.Client().Transport)
	return h
}

// add puts a file on the host and gives the source that names it.
func (h *host) add(name string, content []byte) string {
	h.files["/"+name] = content
	return fmt.Sprintf("%s/%s//x-1/messages?checksum=sha256:%x", h.URL, name, sha256.Sum256(content))
}

func tgz(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range headers {
		h.Mode = 0o644
		content := mine
		if h.Size == 0 && h.Typeflag == tar.TypeReg {
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(content + strings.Repeat("\n", int(h.Size)-len(content)))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t *testing.T, method uint16, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		f, err := w.CreateRaw(&zip.FileHeader{Name: name, Method: method, CompressedSize64: uint64(len(mine)), UncompressedSize64: uint64(len(mine)), CRC32: 0})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(mine)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const inside = "x-1/messages/help.yaml"

func TestArchive(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	d := newDesk(t, nil)
	h := serve(t, d)
	regular := tar.Header{Name: inside, Typeflag: tar.TypeReg}
	for name, content := range map[string][]byte{
		"good.tar.gz": tgz(t, regular), "good.tgz": tgz(t, regular), "good.zip": zipped(t, zip.Store, inside),
	} {
		source := h.add(name, content)
		before := h.asked.Load()
		for range 3 {
			if set, faults := d.load(t.Context(), source); !shows(set, "Mine") || len(faults) > 0 {
				t.Errorf("%s: %q", name, faults)
			}
		}
		if n := h.asked.Load() - before; n != 1 {
			t.Errorf("%s was asked for %d times", name, n)
		}
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestArchiveRefused(t *testing.T) {
	d := newDesk(t, nil)
	h := serve(t, d)
	secret := filepath.Join(t.TempDir(), "secret.yaml")
	write(t, secret, mine)
	other := h.add("other.zip", zipped(t, zip.Store, inside))
	var many []tar.Header
	for i := range limits.Entries + 1 {
		many = append(many, tar.Header{Name: fmt.Sprintf("x-1/%d", i), Typeflag: tar.TypeReg})
	}
	for name, tc := range map[string]struct {
		source string
		want   string
	}{
		"another checksum":   {other[:len(other)-64] + strings.Repeat("0", 64), "hecksum"},
		"not there":          {h.URL + "/absent.zip?checksum=sha256:" + strings.Repeat("0", 64), "404"},
		"no such folder":     {h.add("folder.tgz", tgz(t, tar.Header{Name: "y/help.yaml", Typeflag: tar.TypeReg})), "x-1/messages"},
		"a way out":          {h.add("out.tgz", tgz(t, tar.Header{Name: "../../" + inside, Typeflag: tar.TypeReg})), "'..'"},
		"a way out of a zip": {h.add("out.zip", zipped(t, zip.Store, "../../"+inside)), "'..'"},
		"a link":             {h.add("link.tgz", tgz(t, tar.Header{Name: inside, Typeflag: tar.TypeSymlink, Linkname: secret})), "help.yaml"},
		"a hard link":        {h.add("hard.tgz", tgz(t, tar.Header{Name: inside, Typeflag: tar.TypeLink, Linkname: secret})), "help.yaml"},
		"a linked folder":    {h.add("dir.tgz", tgz(t, tar.Header{Name: "x-1/messages", Typeflag: tar.TypeSymlink, Linkname: filepath.Dir(secret)})), "x-1/messages"},
		"a bomb":             {h.add("bomb.tgz", tgz(t, tar.Header{Name: inside, Typeflag: tar.TypeReg, Size: limits.Unpacked + 1})), "larger than limit"},
		"very many files":    {h.add("many.tgz", tgz(t, many...)), "too many files"},
		"too much to fetch":  {h.add("long.tgz", bytes.Repeat([]byte("x"), int(limits.Archive)+1)), "fetch"},
		"an unknown method":  {h.add("method.zip", zipped(t, 99, inside)), "method.zip"},
		"no archive":         {h.add("text.zip", []byte("text")), "zip"},
	} {
		t.Run(name, func(t *testing.T) {
			set, faults := d.load(t.Context(), tc.source)
			if shows(set, "Mine") || len(faults) != 1 || !strings.Contains(faults[0], tc.want) {
				t.Errorf("faults %q, want %q", faults, tc.want)
			}
		})
	}
}

// TestFetchIsTriedAgain, but not by every answer, and told once.
func TestFetchIsTriedAgain(t *testing.T) {
	d := newDesk(t, nil)
	h := serve(t, d)
	content := zipped(t, zip.Store, inside)
	source := h.add("late.zip", content)
	delete(h.files, "/late.zip")
	expect := func(mine bool, asked int32, warnings int) {
		t.Helper()
		for range 2 {
			if set := d.Set(t.Context(), source); shows(set, "Mine") != mine {
				t.Errorf("mine: %v", !mine)
			}
		}
		if h.asked.Load() != asked || d.warnings() != warnings {
			t.Errorf("asked %d times, want %d; %d warnings, want %d", h.asked.Load(), asked, d.warnings(), warnings)
		}
	}
	expect(false, 1, 1)
	d.ahead = retryAfter
	expect(false, 2, 1)
	h.files["/late.zip"] = content
	expect(false, 2, 1)
	d.ahead = 2 * retryAfter
	expect(true, 3, 1)
}

func TestRedirects(t *testing.T) {
	d := newDesk(t, nil)
	h := serve(t, d)
	content := zipped(t, zip.Store, inside)
	target := h.add("good.zip", content)
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked without TLS") }))
	t.Cleanup(plain.Close)
	for to, good := range map[string]bool{strings.Split(target, "//x-1")[0]: true, plain.URL + "/good.zip": false} {
		from := httptest.NewUnstartedServer(http.RedirectHandler(to, http.StatusFound))
		from.TLS = h.TLS.Clone()
		from.StartTLS()
		t.Cleanup(from.Close)
		source := strings.Replace(target, h.URL, from.URL, 1)
		if set, faults := d.load(t.Context(), source); shows(set, "Mine") != good {
			t.Errorf("to %s: %q", to, faults)
		}
	}
}

// TestAnswersDoNotWaitLong: a source that does not answer costs no answer.
func TestAnswersDoNotWaitLong(t *testing.T) {
	release := make(chan struct{})
	d := newDesk(t, func(ctx context.Context, _, _, _ string) (fs.FS, error) {
		select {
		case <-release:
			return fstest.MapFS{"help.yaml": {Data: []byte(mine)}}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	source := "git::https://git.example.com/x.git?ref=" + strings.Repeat("a", 40)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if set, faults := d.load(ctx, source); shows(set, "Mine") || len(faults) != 1 {
		t.Errorf("while it is fetched: %q", faults)
	}
	d.ahead = d.wait // it has waited as long as it may
	if set := d.Set(t.Context(), source); shows(set, "Mine") {
		t.Error("it is there already")
	}
	d.ahead = 0
	close(release)
	if set, faults := d.load(t.Context(), source); !shows(set, "Mine") || len(faults) > 0 {
		t.Errorf("it has arrived: %q", faults)
	}
}

// TestPanicWhileFetching costs no answer, and not the process: nobody waits for the goroutine that fetches.
func TestPanicWhileFetching(t *testing.T) {
	d := newDesk(t, func(context.Context, string, string, string) (fs.FS, error) { panic("bug") })
	source := "git::https://git.example.com/x.git?ref=" + strings.Repeat("a", 40)
	if _, faults := d.load(t.Context(), source); len(faults) != 1 || !strings.Contains(faults[0], "panic: bug") {
		t.Errorf("%q", faults)
	}
}

func TestGit(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("init", "--quiet")
	if err := os.MkdirAll(filepath.Join(dir, "messages"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "messages", "help.yaml"), mine)
	write(t, filepath.Join(dir, "secret"), mine)
	if err := os.Symlink("../secret", filepath.Join(dir, "messages", "card.yaml")); err != nil {
		t.Fatal(err)
	}
	run("add", "messages", "secret")
	run("commit", "--quiet", "-m", "messages")
	commit := run("rev-parse", "HEAD")
	server := httptest.NewTLSServer(&cgi.Handler{
		Path: filepath.Join(run("--exec-path"), "git-http-backend"), Stderr: t.Output(),
		Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=uploadpack.allowAnySHA1InWant", "GIT_CONFIG_VALUE_0=true"},
	})
	t.Cleanup(server.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	write(t, authority, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	t.Setenv("SSL_CERT_FILE", authority)
	trees, err := git.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := trees.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("PATH", "")

	source := "git::" + server.URL + "/.git//messages?ref=" + commit
	d := newDesk(t, trees.Tree)
	if set, faults := d.load(t.Context(), source); !shows(set, "Mine") || len(faults) > 0 {
		t.Errorf("%q", faults)
	}
	absent := strings.Replace(source, commit, strings.Repeat("0", 40), 1)
	_, faults := d.load(t.Context(), absent)
	if len(faults) != 1 || !strings.Contains(faults[0], "no commit") {
		t.Errorf("a commit that there is not: %q", faults)
	}
}
