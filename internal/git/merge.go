package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Merge merges two versions of a file that come from a third line by line, as git merge-file does. It is false where they
// conflict, or are no text.
func (t *Trees) Merge(ctx context.Context, ancestor, base, head []byte) (merged []byte, ok bool, err error) {
	switch {
	case bytes.Equal(base, head), bytes.Equal(head, ancestor):
		return base, true, nil
	case bytes.Equal(base, ancestor):
		return head, true, nil
	}
	dir, err := os.MkdirTemp(t.home, "merge-")
	if err != nil {
		return nil, false, fmt.Errorf("make directory to merge in: %w", err)
	}
	defer os.RemoveAll(dir)
	names := [...]string{"base", "ancestor", "head"}
	for i, content := range [][]byte{base, ancestor, head} {
		if err := os.WriteFile(filepath.Join(dir, names[i]), content, 0o600); err != nil {
			return nil, false, fmt.Errorf("write a file to merge: %w", err)
		}
	}
	g := command{program: t.program, home: dir, dir: dir}
	err = g.run(ctx, nil, func(out *bufio.Reader) (err error) {
		merged, err = io.ReadAll(out)
		return err
	}, "merge-file", "--stdout", "--quiet", names[0], names[1], names[2])
	// Its status is the number of conflicts, up to 127, or 255 for what it cannot merge, binary files above all.
	if exit, is := errors.AsType[*exec.ExitError](err); is && exit.ExitCode() > 0 && ctx.Err() == nil {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("merge a file: %w", err)
	}
	return merged, true, nil
}
