package main

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// timeout(1) sends its signal twice within a millisecond: to the process, and to its
// group. Only a person's second one leaves at once.
func TestTwoSignalsOfOneSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal, 2)
		ended, left := 0, 0
		go interrupts(signals, func() { ended++ }, func() { left++ })
		signals <- syscall.SIGTERM
		time.Sleep(time.Millisecond)
		signals <- syscall.SIGTERM
		time.Sleep(time.Minute)
		synctest.Wait()
		if ended != 1 || left != 0 {
			t.Errorf("ended %d times, left %d times", ended, left)
		}
		signals <- os.Interrupt
		synctest.Wait()
		if ended != 1 || left != 1 {
			t.Errorf("ended %d times, left %d times", ended, left)
		}
	})
}
