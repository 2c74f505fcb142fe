// Command release makes, from what goreleaser has built, what goreleaser does
// not make: the krew manifest, the bill of materials of a binary, and the
// container image, without a registry to take a base from.
//
//	release krew TEMPLATE DIST      DIST/krew/NAME.yaml, with the checksums of DIST
//	release sbom VERSION BINARY DOCUMENT
//	                                a CycloneDX document of the modules in BINARY
//	release image DIST LICENCE      DIST/image, the container image, and its digest
//	release measure DIST            sizes and start time, and whether they are good enough
package main

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	switch {
	case verb == "krew" && len(args) == 2:
		path, err := writeManifest(args[0], args[1])
		if err != nil {
			return err
		}
		_, err = fmt.Println(path)
		return err
	case verb == "sbom" && len(args) == 3:
		return writeSBOM(args[0], args[1], args[2])
	case verb == "image" && len(args) == 2:
		digest, err := writeImage(args[0], args[1])
		if err != nil {
			return err
		}
		_, err = fmt.Println(digest)
		return err
	case verb == "measure" && len(args) == 1:
		return measure(os.Stdout, args[0])
	}
	return errors.New("usage: release krew TEMPLATE DIST | sbom VERSION BINARY DOCUMENT | image DIST LICENCE | measure DIST")
}
