package finalize

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Condition is one status condition of a namespace, with its message taken apart.
type Condition struct {
	Type    string    `json:"type"`
	Status  string    `json:"status"`
	Since   time.Time `json:"since,omitzero"`
	Message string    `json:"message"`
	// Wrong says why the condition does not fit what is there.
	Wrong string `json:"wrong,omitempty"`
	Hints
}

// Hints are what the message of a condition tells.
type Hints struct {
	// Resources counts objects by plural.group.
	Resources map[string]int `json:"resources,omitempty"`
	// Finalizers counts objects by finalizer.
	Finalizers map[string]int `json:"finalizers,omitempty"`
	// Groups holds the error of each group/version that failed in discovery.
	Groups map[string]string `json:"groups,omitempty"`
}

// The messages are those of Kubernetes 1.36.3
// pkg/controller/namespace/deletion/status_condition_utils.go, and of
// ErrGroupDiscoveryFailed in client-go discovery/discovery_client.go.
var (
	resourceCount  = regexp.MustCompile(`^([^ ,]+) has ([0-9]+) resource instances$`)
	finalizerCount = regexp.MustCompile(`^(.+) in ([0-9]+) resource instances$`)
	// With the number of errors, which follow.
	contentFailure = regexp.MustCompile(`^Failed to delete all resource types, [0-9]+ remaining: `)
	groupFailure   = regexp.MustCompile(`(?:^|, )([a-zA-Z0-9.-]+/v[a-zA-Z0-9]+): `)
)

const (
	resourcesPrefix  = "Some resources are remaining: "
	finalizersPrefix = "Some content in the namespace has finalizers remaining: "
	discoveryPrefix  = "unable to retrieve the complete list of server APIs: "
)

// ParseMessage takes the message of a namespace condition apart. What it does
// not understand it leaves out.
func ParseMessage(message string) Hints {
	var h Hints
	if list, ok := strings.CutPrefix(message, resourcesPrefix); ok {
		h.Resources = counts(resourceCount, list)
	}
	if list, ok := strings.CutPrefix(message, finalizersPrefix); ok {
		h.Finalizers = counts(finalizerCount, list)
	}
	if _, list, ok := strings.Cut(message, discoveryPrefix); ok {
		at := groupFailure.FindAllStringSubmatchIndex(list, -1)
		for i, m := range at {
			end := len(list)
			if i+1 < len(at) {
				end = at[i+1][0]
			}
			if h.Groups == nil {
				h.Groups = map[string]string{}
			}
			h.Groups[list[m[2]:m[3]]] = list[m[1]:end]
		}
	}
	return h
}

func counts(pattern *regexp.Regexp, list string) map[string]int {
	var out map[string]int
	for part := range strings.SplitSeq(list, ", ") {
		m := pattern.FindStringSubmatch(part)
		if m == nil || m[1] == "." {
			continue
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			continue // more than an int holds: not a count of objects
		}
		if out == nil {
			out = map[string]int{}
		}
		// The core group prints as "pods." with nothing behind the dot.
		out[strings.TrimSuffix(m[1], ".")] = n
	}
	return out
}

// remaining tells whether the condition says that something is left, or that
// nobody knows.
func (c Condition) remaining() bool {
	return c.Status == "True" && slices.Contains(saysRemaining, c.Type)
}

// saysRemaining are the conditions of a namespace in deletion (k8s.io/api/core/v1,
// NamespaceConditionType).
var saysRemaining = []string{
	"NamespaceDeletionDiscoveryFailure", "NamespaceDeletionContentFailure", "NamespaceDeletionGroupVersionParsingFailure",
	"NamespaceContentRemaining", "NamespaceFinalizersRemaining",
}

// conditions reads those of a namespace and holds them against the live truth.
func conditions(ns *cluster.Object, content Content) []Condition {
	list, _, _ := unstructured.NestedSlice(ns.Body, "status", "conditions")
	var out []Condition
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		text := func(key string) string { s, _ := m[key].(string); return s }
		c := Condition{Type: text("type"), Status: text("status"), Message: text("message")}
		// An unreadable time stays zero: it is only shown.
		c.Since, _ = time.Parse(time.RFC3339, text("lastTransitionTime"))
		c.Hints = ParseMessage(c.Message)
		if c.Type == "NamespaceContentRemaining" && c.Status == "False" && content.Objects > 0 {
			// Since 1.33 the controller resets it while pods remain (deleteAllContent
			// in pkg/controller/namespace/deletion; kubernetes issue 138208).
			c.Wrong = "objects remain all the same"
		}
		if c.remaining() && content.Empty() {
			c.Wrong = "nothing is seen"
		}
		out = append(out, c)
	}
	return out
}
