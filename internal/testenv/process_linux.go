package testenv

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// childAttributes give a child a process group of its own, so that Ctrl-C reaches only us, and end it when the thread
// that started it ends, which covers kill -9.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// processStart is when the process began: the boot and the clock ticks since, from /proc/PID/stat (proc(5), field 22).
// It is "" for a process that does not run, zombies included.
func processStart(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	// the second field is the program's name in parentheses and may hold anything, so count from its end
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return ""
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(boot)) + " " + string(fields[19])
}
