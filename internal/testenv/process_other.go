//go:build !linux

package testenv

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// childAttributes give a child a process group of its own, so that Ctrl-C reaches only us.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// processStart is when the process began, to the second, or "" for one that does not run.
func processStart(pid int) string {
	out, err := exec.Command("ps", "-o", "state=,lstart=", "-p", strconv.Itoa(pid)).Output()
	state, start, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if err != nil || strings.HasPrefix(state, "Z") {
		return ""
	}
	return strings.TrimSpace(start)
}
