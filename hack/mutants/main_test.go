package main

import "testing"

// A mutant whose text is gone from the code guards nothing any more.
func TestEveryMutantFitsTheCode(t *testing.T) {
	mutants, err := load("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(mutants) < 40 {
		t.Errorf("there are %d mutants", len(mutants))
	}
}
