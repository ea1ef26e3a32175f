package contract

import "strings"

// allowList is every deviation from GitHub's descriptions that is let through, with its reason: an operation
// and a part of what the check says of it.
var allowList = []struct{ operation, contains string }{
	// The media type "raw" is described in prose only: the bytes of the file instead of JSON.
	{"GET /repos/{owner}/{repo}/contents/{path}", `Content-Type has unexpected value: "application/vnd.github.raw+json`},
	{"GET /repos/{owner}/{repo}/git/blobs/{file_sha}", `Content-Type has unexpected value: "application/vnd.github.raw+json`},
	// The media type "sha" is described, as a string that is not JSON, which the validator cannot read.
	{"GET /repos/{owner}/{repo}/commits/{ref}", `unsupported content type "application/vnd.github.sha"`},
	// A fork that is gone leaves its pull requests without what is described as being there always. The account as well: it
	// may be null by the description of lists only.
	{"GET /repos/{owner}/{repo}/pulls", `/head/repo": Value is not nullable`},
	{"GET /repos/{owner}/{repo}/pulls", `/head/label": Value is not nullable`},
	{"GET /repos/{owner}/{repo}/pulls/{pull_number}", `"/head/repo": Value is not nullable`},
	{"GET /repos/{owner}/{repo}/pulls/{pull_number}", `"/head/label": Value is not nullable`},
	{"GET /repos/{owner}/{repo}/pulls/{pull_number}", `"/head/user": Value is not nullable`},
}

func allowed(operation string, problem error) bool {
	for _, a := range allowList {
		if a.operation == operation && strings.Contains(problem.Error(), a.contains) {
			return true
		}
	}
	return false
}
