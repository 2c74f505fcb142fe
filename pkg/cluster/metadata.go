package cluster

import (
	"bytes"
	"context"
	rawjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
)

// asMetadata asks for the metadata of a list, in protobuf or, from servers that
// do not speak it, in JSON.
const asMetadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1," +
	"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

// magic begins what the API server sends in protobuf; runtime.Unknown follows
// (k8s.io/apimachinery, pkg/runtime/serializer/protobuf).
var magic = []byte("k8s\x00")

// The numbers of the fields that a snapshot reads (generated.proto in
// k8s.io/apimachinery, pkg/runtime and pkg/apis/meta/v1).
const (
	unknownType, unknownRaw = 1, 2

	listMetadata, listItems = 1, 2
	itemMetadata            = 1

	metaName, metaNamespace, metaUID, metaResourceVersion, metaGeneration = 1, 3, 5, 6, 7
	metaCreated, metaDeleting, metaLabels, metaAnnotations                = 8, 9, 11, 12
	metaGrace, metaOwners, metaFinalizers, metaManagedFields              = 10, 13, 14, 17

	entryKey, entryValue = 1, 2 // of a map
	managedFieldsManager = 1
)

// metadataPage reads one page of a resource as metadata, and the token of the
// next page. Nothing is decoded but what an Object holds: of the rest, the
// managed fields are the larger part of an answer.
func (c *Client) metadataPage(ctx context.Context, r *Resource, ns string, opts metav1.ListOptions, p pool) ([]*Object,
	string, error) {
	body, err := c.listRequest(r, ns, opts).SetHeader("Accept", asMetadata).Stream(ctx)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = body.Close() }() // all of it was read
	content, err := bytesOf(body)
	if err != nil {
		return nil, "", err
	}
	decode := decodeJSON
	if bytes.HasPrefix(content, magic) {
		decode, content = decodeProtobuf, content[len(magic):]
	}
	objects, next, err := decode(content, r, p)
	if err != nil {
		return nil, "", fmt.Errorf("%s: the server's answer can't be read: %w", r.GroupResource(), err)
	}
	return objects, next, nil
}

// bytesOf returns the bytes of an answer, which are good until it is closed.
func bytesOf(body io.Reader) ([]byte, error) {
	if b, ok := body.(*readBody); ok {
		return b.buffer.Bytes(), nil
	}
	return io.ReadAll(body)
}

// decodeJSON reads a list of whatever kind. What is not a list is an error, and not
// one with nothing in it.
func decodeJSON(content []byte, r *Resource, p pool) ([]*Object, string, error) {
	var list struct {
		metav1.TypeMeta `json:",inline"`
		metav1.ListMeta `json:"metadata"`
		Items           rawjson.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(content, &list); err != nil {
		return nil, "", err
	}
	if list.Kind == "" || list.APIVersion == "" || list.Items == nil {
		return nil, "", fmt.Errorf("the answer is a %q, not a list", list.Kind)
	}
	var items []metav1.PartialObjectMetadata
	if err := json.Unmarshal(list.Items, &items); err != nil {
		return nil, "", err
	}
	objects := make([]*Object, len(items))
	for i := range items {
		var err error
		if objects[i], err = newObject(r, &items[i], nil, p); err != nil {
			return nil, "", err
		}
	}
	return objects, list.Continue, nil
}

// decodeProtobuf reads a runtime.Unknown with a PartialObjectMetadataList in it.
// It keeps nothing of the bytes.
func decodeProtobuf(unknown []byte, r *Resource, p pool) ([]*Object, string, error) {
	var kind runtime.TypeMeta
	var list []byte
	err := walk(unknown, func(field protowire.Number, value []byte, _ uint64) error {
		switch field {
		case unknownType:
			return kind.Unmarshal(value)
		case unknownRaw:
			list = value
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	if kind.Kind != "PartialObjectMetadataList" {
		return nil, "", fmt.Errorf("it is no PartialObjectMetadataList but %q", kind.Kind)
	}
	if len(list) == 0 {
		return nil, "", errors.New("it has no content")
	}
	var objects []*Object
	var meta metav1.ListMeta
	err = walk(list, func(field protowire.Number, value []byte, _ uint64) error {
		switch field {
		case listMetadata:
			return meta.Unmarshal(value)
		case listItems:
			o := &Object{Resource: r}
			objects = append(objects, o)
			return walk(value, func(field protowire.Number, meta []byte, _ uint64) error {
				if field != itemMetadata {
					return nil
				}
				return o.decode(meta, p)
			})
		}
		return nil
	})
	return objects, meta.Continue, err
}

// decode reads an ObjectMeta.
func (o *Object) decode(meta []byte, p pool) error {
	err := walk(meta, func(field protowire.Number, value []byte, number uint64) error {
		switch field {
		case metaName:
			o.Name = string(value)
		case metaNamespace:
			o.Namespace = p.text(value)
		case metaUID:
			o.UID = types.UID(value)
		case metaResourceVersion:
			o.ResourceVersion = string(value)
		case metaGeneration:
			o.Generation = int64(number) //nolint:gosec // two's complement, as it was encoded
		case metaCreated, metaDeleting:
			var at metav1.Time
			if err := at.Unmarshal(value); err != nil {
				return err
			}
			if field == metaCreated {
				o.Created = at.Time
			} else {
				o.Deleting = at.Time
			}
		case metaGrace:
			o.Grace = time.Duration(number) * time.Second //nolint:gosec // two's complement, as it was encoded
		case metaLabels:
			return o.entry(&o.Labels, value, p)
		case metaAnnotations:
			return o.entry(&o.Annotations, value, p)
		case metaOwners:
			o.Owners = append(o.Owners, metav1.OwnerReference{})
			return o.Owners[len(o.Owners)-1].Unmarshal(value)
		case metaFinalizers:
			o.Finalizers = append(o.Finalizers, p.text(value))
		case metaManagedFields:
			var manager []byte
			err := walk(value, func(field protowire.Number, text []byte, _ uint64) error {
				if field == managedFieldsManager {
					manager = text
				}
				return nil
			})
			o.Managers = append(o.Managers, p.text(manager))
			return err
		}
		return nil
	})
	o.Managers = distinct(o.Managers)
	return err
}

// entry reads one entry of labels or annotations, and cuts it as a snapshot does.
func (o *Object) entry(into *map[string]string, entry []byte, p pool) error {
	var key string
	var value []byte
	err := walk(entry, func(field protowire.Number, text []byte, _ uint64) error {
		switch field {
		case entryKey:
			key = p.text(text)
		case entryValue:
			value = text
		}
		return nil
	})
	if *into == nil {
		*into = map[string]string{}
	}
	value = shortened(key, value)
	if string(value) == o.Name { // as labels often do
		(*into)[key] = o.Name
	} else {
		(*into)[key] = p.text(value)
	}
	return err
}

// walk calls visit for each field of a message, with its bytes if it has a
// length, or its number.
func walk(message []byte, visit func(field protowire.Number, value []byte, number uint64) error) error {
	for len(message) > 0 {
		field, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return protowire.ParseError(size)
		}
		message = message[size:]
		var value []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			value, size = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			number, size = protowire.ConsumeVarint(message)
		default:
			size = protowire.ConsumeFieldValue(field, kind, message)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		message = message[size:]
		if err := visit(field, value, number); err != nil {
			return err
		}
	}
	return nil
}
