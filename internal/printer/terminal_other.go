//go:build !windows

package printer

import "os"

// interpretsSequences tells whether a terminal understands escape sequences.
func interpretsSequences(*os.File) bool { return true }
