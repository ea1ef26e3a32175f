// Command ferry is ferry in a terminal: it starts the plugin that Botkube starts and answers the lines that one would
// type in chat.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/charmbracelet/x/term"

	"github.com/ferry-chatops/ferry/internal/helm"
	"github.com/ferry-chatops/ferry/internal/localhost"
)

// version is set by the linker.
var version = "v0.0.0-dev"

// commands are the sub-commands. Each is a struct of its options with a method Run(context.Context, terminal) error, in
// a file of its name.
type commands struct {
	Chat       chat           `cmd:"" help:"Talk to ferry: type lines, or the number of a button. On a terminal Tab completes, arrows choose. Ends with quit."`
	Run        runLine        `cmd:"" help:"Answer one line. Exit code: 0 done, 1 refused or failed, 2 not answered."`
	Check      check          `cmd:"" help:"Look what works and what is missing: clusters, Flux, rights and GitHub. Exit code: 0 all there, 1 something missing, 2 not answered."`
	Where      where          `cmd:"" help:"Tell where in a checkout the versions of an environment stand. Needs no cluster."`
	Plan       plan           `cmd:"" help:"Tell what a promotion would write into a checkout, and write it with --write. Needs no cluster."`
	Diff       diff           `cmd:"" help:"Tell what differs between two checkouts for environments. Needs no cluster. Exit code: 0 nothing, 1 something, 2 not everything could be compared."`
	Demo       demo           `cmd:"" help:"Try ferry on two clusters on this machine, which end with it."`
	Blueprints blueprintFiles `cmd:"" help:"Work on messages in the place of ferry's own."`
	Index      index          `cmd:"" help:"Work on the index in which Botkube finds the plugins."`
	Version    showVersion    `cmd:"" help:"Show the version."`
}

// Exit codes.
const (
	exitDone    = 0
	exitRefused = 1
	exitUsage   = 2 // the command line is wrong, or no answer came about

	exitInterrupted = 130 // as shells have it for Ctrl-C
)

// errRefused ends ferry run after an answer that says no.
var errRefused = errors.New("refused")

// A terminal is where a command reads and writes. Each of the three may as well be a file or a pipe.
type terminal struct {
	in, out, err *os.File
}

func main() {
	if helm.Work() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], terminal{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// run gives the exit code of a command line.
func run(ctx context.Context, args []string, t terminal) int {
	exited := -1
	var cli commands
	parser, err := kong.New(&cli,
		kong.Name("ferry"),
		kong.Description("ferry moves releases between Kubernetes environments from chat. This is its terminal."),
		kong.Writers(t.out, t.err),
		kong.Exit(func(code int) { exited = code }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(t),
	)
	if err != nil {
		fmt.Fprintln(t.err, "ferry:", err)
		return exitUsage
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	chosen, err := parser.Parse(args)
	if exited >= 0 { // help was shown
		return exited
	}
	if err != nil && forChat(args) {
		err = fmt.Errorf("%s is a line for chat; here, write: ferry run -- %s", args[0], strings.Join(args, " "))
	}
	if err == nil {
		err = chosen.Run()
	}
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errRefused):
		return exitRefused
	case ctx.Err() != nil:
		return exitInterrupted
	default:
		fmt.Fprintln(t.err, "ferry:", err)
		return exitUsage
	}
}

type showVersion struct{}

// Run prints the version.
func (showVersion) Run(t terminal) error {
	_, err := fmt.Fprintln(t.out, version)
	return err
}

// isTerminal says whether people read or type there.
func isTerminal(file *os.File) bool { return term.IsTerminal(file.Fd()) }

// styled says whether file shows styles and the user wants any (https://no-color.org).
func styled(file *os.File) bool {
	return isTerminal(file) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// A plugin holds the options of the commands that start it.
type plugin struct {
	Plugins    string   `placeholder:"DIR" help:"Directory of the plugin binaries, or the path or URL of an index. Default: where this program is."`
	Config     []string `placeholder:"FILE" type:"path" env:"FERRY_CONFIG" help:"The plugin's configuration, as under executors in Botkube's; of several, a later one wins. Default: ./ferry.yaml if it exists."`
	Kubeconfig string   `placeholder:"FILE" env:"KUBECONFIG" help:"Kubeconfig of the home cluster, one file. Default: ~/.kube/config if it exists."`
	As         string   `placeholder:"NAME" help:"Who asks, as a user's name. Default: yours."`
	Mention    string   `placeholder:"<@ID>" help:"Who asks, as a chat platform mentions the user: to try what access rules do."`
	TextOnly   bool     `help:"Answer as on platforms without buttons."`
	Env        []string `placeholder:"NAME" help:"A further environment variable that the plugin gets; besides a few that everything needs it gets GITHUB_TOKEN and GH_TOKEN."`
	Verbose    bool     `short:"v" help:"Show the plugin's log."`

	GithubTokenFromGh bool `help:"Give the plugin the token of GitHub's command line tool as GH_TOKEN."`
}

// mention is how Slack, Discord, and Botkube for its automations, write who asks. The plugin takes whoever is written
// otherwise for nobody that a platform vouches for.
var mention = regexp.MustCompile(`^(?:<@!?[A-Z0-9]+>|Automation ".+")$`)

// start starts the plugin; the caller closes the host.
func (p plugin) start(ctx context.Context, t terminal) (*localhost.Host, error) {
	options, err := p.options(t)
	if err != nil {
		return nil, err
	}
	return localhost.Start(ctx, options)
}

// follow starts the source with its own configuration; the caller closes the events.
func (p plugin) follow(ctx context.Context, t terminal, files []string) (*localhost.Events, error) {
	p.Config = files
	options, err := p.options(t)
	if err != nil {
		return nil, err
	}
	return localhost.Follow(ctx, options, "pulls")
}

func (p plugin) options(t terminal) (localhost.Options, error) {
	if p.Mention != "" && !mention.MatchString(p.Mention) {
		return localhost.Options{}, errors.New("--mention is written as in Slack, '<@U024BE7LH>', or as in Discord, '<@80351110224678912>'")
	}
	options := localhost.Options{
		Plugins: p.Plugins, DisplayName: p.As, Mention: p.Mention, TextOnly: p.TextOnly, Log: io.Discard,
	}
	if options.DisplayName == "" {
		if current, err := user.Current(); err == nil {
			options.DisplayName = current.Username
		}
	}
	if p.Verbose {
		options.Log = t.err
	}
	if options.Plugins == "" {
		program, err := os.Executable()
		if err != nil {
			return localhost.Options{}, fmt.Errorf("find the plugin: %w; name its directory with --plugins", err)
		}
		options.Plugins = filepath.Dir(program)
	}
	files := p.Config
	if len(files) == 0 {
		files = existing("ferry.yaml")
	}
	for _, file := range files {
		config, err := os.ReadFile(file)
		if err != nil {
			return localhost.Options{}, fmt.Errorf("read configuration: %w", err)
		}
		options.Configs = append(options.Configs, config)
	}
	var err error
	if options.Kubeconfig, err = p.kubeconfig(); err != nil {
		return localhost.Options{}, err
	}
	for _, name := range append(p.Env, "GITHUB_TOKEN", "GH_TOKEN") {
		if value, ok := os.LookupEnv(name); ok {
			options.Environment = append(options.Environment, name+"="+value)
		}
	}
	if p.GithubTokenFromGh {
		token, err := githubToken()
		if err != nil {
			return localhost.Options{}, err
		}
		options.Environment = append(options.Environment, "GH_TOKEN="+token)
	}
	return options, nil
}

// kubeconfig is empty where none is: the plugin says what to do then.
func (p plugin) kubeconfig() ([]byte, error) {
	file := p.Kubeconfig
	if file == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, nil
		}
		if found := existing(filepath.Join(home, ".kube", "config")); found == nil {
			return nil, nil
		} else {
			file = found[0]
		}
	}
	if len(filepath.SplitList(file)) > 1 {
		return nil, errors.New("KUBECONFIG names several files, and Botkube passes one: name it with --kubeconfig")
	}
	config, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return config, nil
}

// existing is the file, if it exists.
func existing(file string) []string {
	if _, err := os.Stat(file); err != nil {
		return nil
	}
	return []string{file}
}
