package hibernate

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// DefaultImage runs Cast AI's own job (HC 0.2.12).
const DefaultImage = "castai/hibernate:v0.14"

// The environment variables of the job (HB app/main.py). The documentation calls
// the last one PROTECT_EVICTION_DISABLED, which Cast AI's job does not read: both
// names are written, and either is read.
const (
	envAction         = "ACTION"
	envAPIKey         = "API_KEY"
	envAPIURL         = "API_URL"
	envCloud          = "CLOUD"
	envClusterID      = "CLUSTER_ID"
	envNode           = "HIBERNATE_NODE"
	envNodeLabels     = "HIBERNATE_NODE_LABELS"
	envNamespaces     = "NAMESPACES_TO_KEEP"
	envProtect        = "PROTECT_REMOVAL_DISABLED"
	envProtectOldName = "PROTECT_EVICTION_DISABLED"
	envJobNode        = "MY_NODE_NAME"
	envAccept         = "ACCEPT" // this and the next are of this plugin alone
	envKeep           = "KEEP"
	actionPause       = "pause"
	actionResume      = "resume"
)

// Settings are those that Cast AI documents for its jobs.
type Settings struct {
	// Node is the instance type of the hibernation node; empty is the default of
	// the cluster's provider.
	Node string `json:"hibernateNode,omitempty"`
	// NodeLabels are put on that node for the time of the pause.
	NodeLabels map[string]string `json:"hibernateNodeLabels,omitempty"`
	// NamespacesToKeep have their workloads run through the pause, beside those
	// that always do.
	NamespacesToKeep []string `json:"namespacesToKeep,omitempty"`
	// ProtectRemovalDisabled keeps the nodes that are marked removal-disabled.
	ProtectRemovalDisabled bool `json:"protectRemovalDisabled"`
	// APIURL is the address of the Cast AI API of the cluster's region.
	APIURL string `json:"apiURL,omitempty"`
}

var instanceType = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Validate checks what can be checked without the cluster.
func (s Settings) Validate() error {
	if s.Node != "" && !instanceType.MatchString(s.Node) {
		return fmt.Errorf("%q is not an instance type such as m5a.large", s.Node)
	}
	for _, key := range slices.Sorted(maps.Keys(s.NodeLabels)) {
		if problems := validation.IsQualifiedName(key); len(problems) > 0 {
			return fmt.Errorf("%q is not the key of a label: %s", key, problems[0])
		}
		if problems := validation.IsValidLabelValue(s.NodeLabels[key]); len(problems) > 0 {
			return fmt.Errorf("%q is not a value for the label %s: %s", s.NodeLabels[key], key, problems[0])
		}
		if strings.HasPrefix(key, provisioner) || key == PausedKey {
			return fmt.Errorf("the label %s is Cast AI's own: it can't be set", key)
		}
	}
	for _, ns := range s.NamespacesToKeep {
		if problems := validation.IsDNS1123Label(ns); len(problems) > 0 {
			return fmt.Errorf("%q is not the name of a namespace: %s", ns, problems[0])
		}
	}
	if s.APIURL == "" {
		return nil
	}
	u, err := url.Parse(s.APIURL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Hostname() != "127.0.0.1" {
		return fmt.Errorf("%q is not the address of the Cast AI API, such as https://api.eu.cast.ai", s.APIURL)
	}
	return nil
}

// env returns the settings as the variables of the job.
func (s Settings) env() map[string]string {
	protect := fmt.Sprint(s.ProtectRemovalDisabled)
	return map[string]string{
		envNode: s.Node, envNodeLabels: formatLabels(s.NodeLabels), envNamespaces: strings.Join(s.NamespacesToKeep, ","),
		envProtect: protect, envProtectOldName: protect, envAPIURL: s.APIURL,
	}
}

// SettingsFromEnv reads the variables of the job. The two names of one setting
// must not contradict each other.
func SettingsFromEnv(get func(string) string) (Settings, error) {
	s, problems := readSettings(get)
	flags := slices.Sorted(maps.Keys(problems))
	if len(flags) == 0 {
		return s, nil
	}
	return s, problems[flags[0]]
}

// readSettings reads what can be read, and says of the rest why not, by the flag that
// sets it.
func readSettings(get func(string) string) (Settings, map[string]error) {
	problems := map[string]error{}
	s := Settings{Node: strings.TrimSpace(get(envNode)), NamespacesToKeep: SplitNames(get(envNamespaces)),
		APIURL: strings.TrimSpace(get(envAPIURL))}
	var err error
	if s.NodeLabels, err = ParseLabels(get(envNodeLabels)); err != nil {
		problems["hibernate-node-labels"] = fmt.Errorf("%s: %w", envNodeLabels, err)
	}
	for _, name := range []string{envProtect, envProtectOldName} {
		switch value := strings.ToLower(strings.TrimSpace(get(name))); value {
		case "", "false":
		case "true":
			s.ProtectRemovalDisabled = true
		default:
			problems["protect-removal-disabled"] = fmt.Errorf("%s is %q: it is true or false", name, value)
		}
	}
	return s, problems
}

// Job is what the environment of a Job says.
type Job struct {
	Settings
	APIKey, ClusterID string
	// Node is the name of the one that it runs on.
	Node string
	// Pause: it pauses. Otherwise it resumes.
	Pause bool
	// Accept are the names of the refusals that it goes on against.
	Accept []string
	// Keep is how the namespaces to keep are kept.
	Keep string
}

// Readable refuses settings that only this plugin's image reads, for another one.
func (c Configuration) Readable() error {
	if (c.Keep != "" || len(c.Accept) > 0) && !c.Own() {
		return fmt.Errorf("the image %s does not read --keep and --accept=%s: name one of kubectl-castai with --image",
			c.Image, strings.Join(Refusals(), " and "))
	}
	return nil
}

// Own tells whether the jobs run an image of this plugin.
func (c Configuration) Own() bool { return imageName(c.Image) == ownImage }

// JobFromEnv reads the variables of a Job. Cast AI's own job takes any action
// other than resume for a pause.
func JobFromEnv(get func(string) string) (Job, error) {
	j := Job{APIKey: strings.TrimSpace(get(envAPIKey)), ClusterID: strings.TrimSpace(get(envClusterID)),
		Node: strings.TrimSpace(get(envJobNode)), Accept: SplitNames(get(envAccept)), Keep: strings.TrimSpace(get(envKeep))}
	var err error
	if j.Settings, err = SettingsFromEnv(get); err != nil {
		return j, err
	}
	switch action := strings.TrimSpace(get(envAction)); action {
	case actionPause:
		j.Pause = true
	case actionResume:
	default:
		return j, fmt.Errorf("%s is %q: it is %s or %s", envAction, action, actionPause, actionResume)
	}
	return j, j.Settings.Validate()
}

// SplitNames reads a list with commas, with blanks around names or without.
func SplitNames(list string) []string {
	var out []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// ParseLabels reads key=value,key=value, or an object of JSON.
func ParseLabels(text string) (map[string]string, error) {
	text = strings.TrimSpace(text)
	out := map[string]string{}
	if text == "" {
		return out, nil
	}
	if strings.HasPrefix(text, "{") {
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			return nil, fmt.Errorf("%q is not an object of JSON with texts in it: %w", text, err)
		}
		return out, nil
	}
	for _, pair := range SplitNames(text) {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%q is not KEY=VALUE", pair)
		}
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("the label %s is there twice", key)
		}
		out[key] = value
	}
	return out, nil
}

// formatLabels is the reverse of ParseLabels.
func formatLabels(labels map[string]string) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, key+"="+labels[key])
	}
	return strings.Join(pairs, ",")
}

// placeholder is what the documentation and deploy.yaml have in the place of a
// key; it may have been encoded once or twice (HB deploy.yaml).
var placeholders = []string{"CASTAI-API-KEY-REPLACE-ME", "Q0FTVEFJLUFQSS1LRVktUkVQTEFDRS1NR", "REPLACE-ME"}

// CheckAPIKey refuses what can't be a key of the Cast AI API.
func CheckAPIKey(key string) error {
	if key == "" {
		return fmt.Errorf("the API key is empty: make one with full access in the Cast AI console")
	}
	for _, p := range placeholders {
		if strings.Contains(strings.ToUpper(key), strings.ToUpper(p)) {
			return fmt.Errorf("the API key is still the placeholder of the documentation: make one with full access in the Cast AI console")
		}
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("the API key has blanks or other characters in it that no key has")
	}
	return nil
}
