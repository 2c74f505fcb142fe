package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/castai/kubectl-castai/test/bench/page"
)

// pageSize is how many objects one list request asks for, as the plugin's do.
const pageSize = 500

// asMetadata asks for a list of metadata in the most compact form.
const asMetadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

// listFloor lists all that an inventory lists, as metadata, in pages, at the same
// concurrency, and throws the answers away: of each only the place of the next
// page is read. Which resources there are is known beforehand.
func (s *server) listFloor(ctx context.Context) (page.Sample, error) {
	lists, err := s.disco.ServerPreferredResources()
	if err != nil {
		return page.Sample{}, err
	}
	var paths []string
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "delete"}}, lists) {
		root := "/apis/" + list.GroupVersion + "/"
		if list.GroupVersion == "v1" {
			root = "/api/v1/"
		}
		for _, r := range list.APIResources {
			if r.Name != "events" {
				paths = append(paths, root+r.Name)
			}
		}
	}
	client, err := rest.HTTPClientFor(s.config)
	if err != nil {
		return page.Sample{}, err
	}
	defer client.CloseIdleConnections()
	if err := listPages(ctx, client, s.config.Host+"/api/v1/namespaces", new(atomic.Int64)); err != nil {
		return page.Sample{}, err // the connection is there
	}

	size, err := s.auditSize()
	if err != nil {
		return page.Sample{}, err
	}
	var bytes atomic.Int64
	used := processorTime()
	start := time.Now()
	err = each(ctx, len(paths), func(ctx context.Context, i int) error {
		return listPages(ctx, client, s.config.Host+paths[i], &bytes)
	})
	sample := page.Sample{Seconds: time.Since(start).Seconds(), CPU: processorTime() - used}
	if err != nil {
		return sample, err
	}
	sample.Counts = map[string]int{"resources": len(slices.Compact(slices.Sorted(slices.Values(paths)))),
		"KiB": int(bytes.Load() >> 10)}
	sample.Requests, err = s.verbsSince(size)
	return sample, err
}

// listPages reads all pages of one resource.
func listPages(ctx context.Context, client *http.Client, address string, bytes *atomic.Int64) error {
	next := ""
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"?"+url.Values{
			"limit": {strconv.Itoa(pageSize)}, "continue": {next},
		}.Encode(), nil)
		if err != nil {
			return err
		}
		req.Header.Set("Accept", asMetadata+", application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // all of it was read
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("list %s: %s", address, resp.Status)
		}
		bytes.Add(int64(len(body)))
		if next, err = nextPage(body); err != nil {
			return fmt.Errorf("list %s: %w", address, err)
		}
		if next == "" {
			return nil
		}
	}
}

// nextPage reads the continue token of a list in protobuf, and nothing else of
// it: field 2 (raw) of the envelope (runtime.Unknown, k8s.io/apimachinery), in
// it field 1 (ListMeta) of the list.
func nextPage(body []byte) (string, error) {
	const magic = "k8s\x00"
	if len(body) < len(magic) || string(body[:len(magic)]) != magic {
		return "", fmt.Errorf("the answer is not protobuf of Kubernetes")
	}
	raw, err := field(body[len(magic):], 2)
	if err != nil {
		return "", err
	}
	meta, err := field(raw, 1)
	if err != nil {
		return "", err
	}
	var list metav1.ListMeta
	if err := list.Unmarshal(meta); err != nil {
		return "", err
	}
	return list.Continue, nil
}

// field returns the first field of bytes with a number, nothing if there is none.
func field(message []byte, number protowire.Number) ([]byte, error) {
	for len(message) > 0 {
		n, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		message = message[size:]
		if n == number && kind == protowire.BytesType {
			value, size := protowire.ConsumeBytes(message)
			if size < 0 {
				return nil, protowire.ParseError(size)
			}
			return value, nil
		}
		if size = protowire.ConsumeFieldValue(n, kind, message); size < 0 {
			return nil, protowire.ParseError(size)
		}
		message = message[size:]
	}
	return nil, nil
}
