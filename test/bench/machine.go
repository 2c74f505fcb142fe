package main

import (
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func cpus() int         { return runtime.NumCPU() }
func system() string    { return runtime.GOOS + "/" + runtime.GOARCH }
func goVersion() string { return runtime.Version() }

// cpuModel names the processor, where Linux says which it is.
func cpuModel() string { return valueOf(readFile("/proc/cpuinfo"), "model name") }

// memoryGiB is the memory of the machine, 0 where the system does not say.
func memoryGiB() float64 {
	kib, err := strconv.ParseFloat(strings.TrimSuffix(valueOf(readFile("/proc/meminfo"), "MemTotal"), " kB"), 64)
	if err != nil {
		return 0
	}
	return math.Round(kib/(1<<20)*10) / 10
}

// valueOf returns the value of the first line KEY: VALUE of a text.
func valueOf(text, key string) string {
	for line := range strings.Lines(text) {
		if k, v, found := strings.Cut(line, ":"); found && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// readFile returns nothing of a file that is not there.
func readFile(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(data)
}

// processorTime is what this process has used so far, in seconds.
func processorTime() float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
}
