// Package contract is the server's side of internal/castai/openapi.yaml.
package contract
