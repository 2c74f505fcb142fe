package printer

import (
	"os"

	"golang.org/x/sys/windows"
)

// interpretsSequences tells whether a console understands escape sequences,
// which it has to be asked to.
func interpretsSequences(f *os.File) bool {
	var mode uint32
	console := windows.Handle(f.Fd())
	return windows.GetConsoleMode(console, &mode) == nil &&
		windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
