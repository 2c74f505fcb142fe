package hibernate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/castai/kubectl-castai/internal/castai"
)

// The switches of the autoscaler that a pause can turn off.
const (
	// SwitchAll is the one of all policies, which Cast AI's job turns off.
	SwitchAll = "all"
	// SwitchUnschedulable is that of the unscheduled pod policy, which Cast AI's
	// documentation speaks of.
	SwitchUnschedulable = "unscheduled-pods"
)

// switched tells where a switch stands. An absent one is off (proto JSON).
func switched(p castai.Policies, name string) (bool, error) {
	var fields struct {
		Enabled           bool `json:"enabled"`
		UnschedulablePods struct {
			Enabled bool `json:"enabled"`
		} `json:"unschedulablePods"`
	}
	if err := json.Unmarshal(p, &fields); err != nil {
		return false, fmt.Errorf("the policies of the autoscaler can't be read: %w", err)
	}
	if name == SwitchUnschedulable {
		return fields.UnschedulablePods.Enabled, nil
	}
	return fields.Enabled, nil
}

// withSwitch returns the policies with a switch set, and everything else as it
// was: whether absent fields keep their values is not documented.
func withSwitch(p castai.Policies, name string, on bool) (castai.Policies, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(p, &fields); err != nil {
		return nil, fmt.Errorf("the policies of the autoscaler can't be read: %w", err)
	}
	inner := fields["unschedulablePods"]
	if inner == nil { // to put such an answer back would replace all of them
		return nil, errors.New("the API has answered without the policy for unscheduled pods: nothing was changed of the policies, try again")
	}
	if name != SwitchUnschedulable {
		return castai.WithEnabled(p, on)
	}
	var err error
	if fields["unschedulablePods"], err = castai.WithEnabled(inner, on); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// lacking names the policies that the original had and an answer lacks: to put that back
// would take them away. What has its zero value may be absent (proto JSON), and the switch
// of all policies is what changes.
func lacking(p, original castai.Policies) (string, error) {
	if len(original) == 0 {
		return "", nil
	}
	var is, was map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(p, &is), json.Unmarshal(original, &was)); err != nil {
		return "", fmt.Errorf("the policies of the autoscaler can't be read: %w", err)
	}
	var missing []string
	for _, key := range slices.Sorted(maps.Keys(was)) {
		zero := slices.Contains([]string{"null", "false", "0", `""`, "[]", "{}"}, string(was[key]))
		if is[key] == nil && !zero && key != "enabled" {
			missing = append(missing, key)
		}
	}
	return strings.Join(missing, ", "), nil
}

// makesNodes tells whether the autoscaler makes nodes for pods that wait: all its
// policies are on, and the one for unscheduled pods is.
func makesNodes(p castai.Policies) (bool, error) {
	for _, name := range []string{SwitchAll, SwitchUnschedulable} {
		if on, err := switched(p, name); err != nil || !on {
			return false, err
		}
	}
	return true, nil
}
