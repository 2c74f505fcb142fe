package hibernate

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// Pair is a CronJob that pauses the cluster and the one that resumes it. One of the
// two may be missing.
type Pair struct {
	// Name is empty for the documented pair.
	Name string
	// Configuration is that of its CronJobs.
	Configuration Configuration
	// Suspended tells of each CronJob whether it does nothing.
	Suspended Suspended
	// Problems say which settings can't be read and why, by the flag that sets them.
	Problems map[string]error
	// Release is the Helm release that it comes from; empty: none.
	Release string
	// cronJobs by action.
	cronJobs map[string]*cluster.Object
	// containers are the names of those that hibernate, by action.
	containers map[string]string
}

// Suspended tells which of the two CronJobs are suspended.
type Suspended struct {
	Pause  bool `json:"pause"`
	Resume bool `json:"resume"`
}

// actions are those of a pair, in the order in which its settings are read: the
// CronJob that pauses has all of them, in Cast AI's chart, too.
var actions = []string{actionResume, actionPause}

// longestName is that of a CronJob: its Jobs get a suffix
// (k8s.io/kubernetes v1.36.3 pkg/apis/batch/validation).
const longestName = 52

// CheckName refuses what can't be the name of a pair that is made.
func CheckName(name string) error {
	if name == "" {
		return nil
	}
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return fmt.Errorf("%q is not the name of a pair: %s", name, problems[0])
	}
	if most := longestName - len(ResumeCronJob) - 1; len(name) > most {
		return fmt.Errorf("%q is not the name of a pair: it has more than %d characters", name, most)
	}
	if pairOf(PauseCronJob+"-"+name) != name {
		return fmt.Errorf("%q is not the name of a pair: leave out the words hibernate, pause and resume, which its CronJobs have anyway", name)
	}
	return nil
}

// pairOf is the name of the pair that a CronJob belongs to: what its own name has
// beside the words that all of them have.
func pairOf(cronJob string) string {
	words := slices.DeleteFunc(strings.Split(cronJob, "-"), func(word string) bool {
		return slices.Contains([]string{"hibernate", actionPause, actionResume}, word)
	})
	return strings.Join(words, "-")
}

// cronJobName is that of the CronJob of a pair that is made.
func cronJobName(pair, action string) string {
	return strings.TrimSuffix("hibernate-"+action+"-"+pair, "-")
}

// readPairs finds the pairs: by image and environment, whatever their names are,
// and by the documented names. Where two would have one name, the later one is a
// pair of its own, with the name of its CronJob.
func (in *Installation) readPairs(cronJobs []*cluster.Object) error {
	byName := map[string]*Pair{}
	// Those that are named as install names them come first.
	slices.SortFunc(cronJobs, func(a, b *cluster.Object) int {
		if made := strings.HasPrefix(a.Name, "hibernate-"); made != strings.HasPrefix(b.Name, "hibernate-") {
			return map[bool]int{true: -1, false: 1}[made]
		}
		return cmp.Compare(a.Name, b.Name)
	})
	for _, o := range cronJobs {
		var job batchv1.CronJob
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Body, &job); err != nil {
			return fmt.Errorf("%s can't be read: %w", o.Ref(), err)
		}
		spec := &job.Spec.JobTemplate.Spec.Template.Spec
		p, ok := readPod(*spec)
		switch {
		case ok:
		case o.Name == PauseCronJob:
			p.action = actionPause
		case o.Name == ResumeCronJob:
			p.action = actionResume
		default:
			if uses(spec) {
				in.others = append(in.others, o)
			}
			continue
		}
		name := pairOf(o.Name)
		if there := byName[name]; there != nil && there.cronJobs[p.action] != nil {
			name = o.Name
		}
		if byName[name] == nil {
			byName[name] = &Pair{Name: name, cronJobs: map[string]*cluster.Object{}, containers: map[string]string{},
				Problems: map[string]error{}}
		}
		byName[name].cronJobs[p.action] = o
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		in.Pairs = append(in.Pairs, byName[name])
		if err := byName[name].read(); err != nil {
			return err
		}
	}
	return nil
}

// uses tells whether a pod needs what all pairs share: it runs as their
// ServiceAccount, or reads their Secret.
func uses(spec *corev1.PodSpec) bool {
	return spec.ServiceAccountName == account ||
		slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool {
			return v.Secret != nil &&
				v.Secret.SecretName == secretName
		}) ||
		slices.ContainsFunc(slices.Concat(spec.InitContainers, spec.Containers), readsKey)
}

// readsKey tells whether a container has what all pairs share in its environment.
func readsKey(c corev1.Container) bool {
	return slices.ContainsFunc(c.EnvFrom, func(e corev1.EnvFromSource) bool {
		return e.SecretRef != nil &&
			e.SecretRef.Name == secretName
	}) ||
		slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool {
			return e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil && e.ValueFrom.SecretKeyRef.Name == secretName
		})
}

// read reads the configuration from the CronJobs that are there.
func (p *Pair) read() error {
	for _, action := range actions {
		o := p.cronJobs[action]
		if o == nil {
			continue
		}
		p.Release = cmp.Or(o.Annotations["meta.helm.sh/release-name"], p.Release)
		var job batchv1.CronJob
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Body, &job); err != nil {
			return fmt.Errorf("%s can't be read: %w", o.Ref(), err)
		}
		c := &p.Configuration
		if job.Spec.TimeZone != nil {
			c.TimeZone = *job.Spec.TimeZone
		}
		suspended := job.Spec.Suspend != nil && *job.Spec.Suspend
		if action == actionResume {
			c.Resume, p.Suspended.Resume = job.Spec.Schedule, suspended
		} else {
			c.Pause, p.Suspended.Pause = job.Spec.Schedule, suspended
		}
		spec := job.Spec.JobTemplate.Spec.Template.Spec
		if len(spec.Containers) == 0 {
			return fmt.Errorf("%s has no container", o.Ref())
		}
		container := &spec.Containers[0]
		if found, ok := readPod(spec); ok {
			container = found.container
		}
		env := variables(container.Env)
		settings, problems := readSettings(func(name string) string { return env[name] })
		for flag, err := range problems {
			p.Problems[flag] = fmt.Errorf("%s: %w", o.Ref(), err)
		}
		c.Settings, c.Image, c.Provider = settings, container.Image, strings.ToLower(env[envCloud])
		p.containers[action] = container.Name
		c.Keep, c.Accept = env[envKeep], SplitNames(env[envAccept])
	}
	return nil
}

// Pair returns the pair of that name, or nil.
func (in *Installation) Pair(name string) *Pair {
	i := slices.IndexFunc(in.Pairs, func(p *Pair) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return in.Pairs[i]
}

// Names lists the pairs, for a person.
func (in *Installation) Names() string {
	return names(in.Pairs, (*Pair).String)
}

// String is what a person calls the pair.
func (p *Pair) String() string {
	return cmp.Or(p.Name, "the one without a name")
}

// Problem is why a pair can't be read in full, leaving out what these flags set anew;
// empty: it can.
func (p *Pair) Problem(set func(flag string) bool) string {
	var out []string
	for _, flag := range slices.Sorted(maps.Keys(p.Problems)) {
		if !set(flag) {
			out = append(out, fmt.Sprintf("%v (hibernate set --%s corrects it)", p.Problems[flag], flag))
		}
	}
	return strings.Join(out, "; ")
}

// Whole tells whether both CronJobs are there.
func (p *Pair) Whole() bool { return p != nil && len(p.cronJobs) == len(actions) }

// CronJob returns the CronJob of an action, or nil.
func (p *Pair) CronJob(action string) *cluster.Object { return p.cronJobs[action] }

// Foreign tells whether the pair was not made by this plugin: it may do more than
// it needs, and install brings it in order.
func (p *Pair) Foreign() bool {
	o := p.cronJobs[actionPause]
	return o == nil || !slices.Contains(o.Managers, cluster.FieldManager)
}

// Changeable is an error if applying this plugin's CronJobs would not change the
// pair's, but add to them.
func (p *Pair) Changeable() error {
	for action, o := range p.cronJobs {
		if name := p.containers[action]; name != containerName {
			return fmt.Errorf("the container of %s is called %q, and not %q as in Cast AI's installation: change it with kubectl edit", o.Ref(), name, containerName)
		}
	}
	return nil
}

// NextTimes returns the next times of what is not suspended.
func (p *Pair) NextTimes(now time.Time) (*Times, error) {
	if !p.Whole() {
		return nil, fmt.Errorf("the pair %s lacks a CronJob", p)
	}
	if p.Configuration.TimeZone == "" {
		return nil, errors.New("the time zone of the controller manager is not known")
	}
	pause, resume, err := p.Configuration.Next(now)
	if err != nil {
		return nil, err
	}
	t := &Times{Pause: pause, Resume: resume}
	if p.Suspended.Pause {
		t.Pause = time.Time{}
	}
	if p.Suspended.Resume {
		t.Resume = time.Time{}
	}
	return t, nil
}

// Clashes is an error if the schedule of a pair of this name would get in the way of
// another pair's: two runs at about the same time, or one that wakes the cluster
// while another one has it sleep. What is suspended does neither.
func (in *Installation) Clashes(name string, s Schedule, now time.Time, accepted []string) error {
	mine, err := s.parse()
	if err != nil {
		return err
	}
	for _, other := range in.Pairs {
		if other.Name == name || other.Suspended.Pause && other.Suspended.Resume {
			continue
		}
		theirs, events, err := other.runs(now)
		if err != nil {
			return fmt.Errorf("the pair %s: %w", other, err)
		}
		all := mine.events(now)
		for i := range all {
			all[i].pair = name
		}
		all = slices.SortedFunc(slices.Values(append(all, events...)), earlier)
		for i := 1; i < len(all); i++ {
			if e, before := all[i], all[i-1]; e.pair != before.pair && e.at.Sub(before.at) < apart {
				return fmt.Errorf("the pairs overlap: %s of %s comes %s after %s of %s (%s): leave %s between them",
					e.name(), (&Pair{Name: e.pair}), e.at.Sub(before.at), before.name(), (&Pair{Name: before.pair}),
					before.at.Format("Mon 15:04 MST"), apart)
			}
		}
		if slices.Contains(accepted, OverlappingPairs) {
			continue
		}
		if a, b, cross := crossing(mine.forecast(now).stretches, theirs); cross {
			return fmt.Errorf("the pairs overlap: %s has the cluster sleep from %s to %s, and %s from %s to %s: whichever resumes first wakes all of it. If that is meant, pass --accept=%s",
				(&Pair{Name: name}), a.From.Format("Mon 15:04"), a.To.Format("Mon 15:04 MST"),
				other, b.From.Format("Mon 15:04"), b.To.Format("Mon 15:04 MST"), OverlappingPairs)
		}
	}
	return nil
}

// runs returns when a pair has the cluster sleep, and when its CronJobs run. One
// without its counterpart has the cluster sleep until somebody else wakes it.
func (p *Pair) runs(now time.Time) (asleep []Stretch, events []event, err error) {
	c := p.Configuration
	if p.cronJobs[actionPause] != nil && p.cronJobs[actionResume] != nil {
		parsed, err := c.parse()
		if err != nil {
			return nil, nil, err
		}
		if !p.Suspended.Pause && !p.Suspended.Resume {
			asleep = parsed.forecast(now).stretches
		}
	}
	for action, suspended := range map[string]bool{actionPause: p.Suspended.Pause, actionResume: p.Suspended.Resume} {
		if p.cronJobs[action] == nil || suspended {
			continue
		}
		expression := map[string]string{actionPause: c.Pause, actionResume: c.Resume}[action]
		schedule, err := parseCron(action, expression)
		if err != nil {
			return nil, nil, err
		}
		zone, err := time.LoadLocation(c.TimeZone)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range times(schedule, now.In(zone), action == actionPause) {
			e.pair = p.Name
			events = append(events, e)
		}
	}
	return asleep, events, nil
}

// crossing returns the first two stretches that have a time in common.
func crossing(mine, theirs []Stretch) (a, b Stretch, found bool) {
	for _, a := range mine {
		for _, b := range theirs {
			if a.From.Before(b.To) && b.From.Before(a.To) {
				return a, b, true
			}
		}
	}
	return a, b, false
}
