package castai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Enabled reads the switch of all policies. known is false when it is absent,
// which stands for false in the service's JSON, but may as well be a version
// that has moved it elsewhere.
func Enabled(p Policies) (enabled, known bool, err error) {
	// A map, because a struct would take Enabled for enabled.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(p, &fields); err != nil {
		return false, false, fmt.Errorf("the policies can't be read: %w", err)
	}
	var value *bool
	if raw, ok := fields["enabled"]; ok {
		if err := json.Unmarshal(raw, &value); err != nil {
			return false, false, fmt.Errorf("the policies can't be read: enabled is %s: %w", raw, err)
		}
	}
	if value == nil {
		return false, false, nil
	}
	return *value, true, nil
}

// WithEnabled returns the policies with the switch of all of them set, and
// everything else byte for byte as it was: the service may know fields that this
// client does not, and whether absent ones keep their values is not documented.
func WithEnabled(p Policies, enabled bool) (Policies, error) {
	value := fmt.Appendf(nil, "%t", enabled)
	d := json.NewDecoder(bytes.NewReader(p))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("the policies are no JSON object")
	}
	start, fields, set := int(d.InputOffset()), 0, false
	out := slices.Clone(p)
	for shift := 0; d.More(); fields++ {
		name, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("the policies can't be read: %w", err)
		}
		var old json.RawMessage
		if err := d.Decode(&old); err != nil {
			return nil, fmt.Errorf("the policies can't be read: %w", err)
		}
		if name != "enabled" {
			continue
		}
		end := int(d.InputOffset()) + shift
		out = slices.Replace(out, end-len(old), end, value...)
		shift += len(value) - len(old)
		set = true
	}
	if !set {
		field := fmt.Appendf(nil, `"enabled":%s`, value)
		if fields > 0 {
			field = append(field, ',')
		}
		out = slices.Insert(out, start, field...)
	}
	if !json.Valid(out) {
		return nil, errors.New("the policies can't be read: they do not end as they should")
	}
	return out, nil
}
