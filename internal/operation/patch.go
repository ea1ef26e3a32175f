package operation

import (
	"fmt"

	"github.com/ferry-chatops/ferry/internal/compare"
)

// Patch writes the difference of a file before and after as git diff does, for git apply; before is nil where the file is
// new.
func Patch(file string, before, after []byte) string {
	hunks := compare.Unified(file, before, after, func(lines []string) []string { return lines })
	if hunks == "" {
		return ""
	}
	mode := ""
	if before == nil {
		mode = "new file mode 100644\n"
	}
	return fmt.Sprintf("diff --git %s %s\n%s%s", compare.GitName("a/"+file), compare.GitName("b/"+file), mode, hunks)
}
