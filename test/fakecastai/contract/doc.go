// Package contract is the server's side of pkg/castai/openapi.yaml.
package contract
