package finalize

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
)

// slowAnswer is how long an answer may take before whoever is the reason is not asked again: a webhook that
// hangs costs one wait, and not one for each class of objects.
const slowAnswer = 5 * time.Second

// asking is the questions to the server whether it would accept a write.
type asking struct {
	obs    *Observation
	client Reader

	mu   sync.Mutex
	slow []slowness
}

// slowness is a write that took its time, or got no answer.
type slowness struct {
	hooks  []hook // the webhooks that are the reason, as far as is known
	api    string // the group and version of the object, if there are none
	answer Sample
}

// question is a write that is only tried.
type question struct {
	object                 *cluster.Object
	operation, subresource string
	send                   func(context.Context) error
}

// ask returns what the server says to a write, or, where it passes a webhook that took its time before, what is
// known from that.
func (a *asking) ask(ctx context.Context, q question) Sample {
	if s, known := a.foreseen(q); known {
		return s
	}
	ctx, cancel := context.WithTimeout(cluster.Once(ctx), sampleTime)
	defer cancel()
	began := time.Now()
	s := answered(q.object.Ref(), q.send(ctx))
	if time.Since(began) < slowAnswer {
		return s
	}
	slow := slowness{hooks: a.suspects(q, s), api: q.object.Resource.APIVersion()}
	if s.Unanswered && len(slow.hooks) > 0 {
		s.Refused = fmt.Sprintf("%s; %s", s.Refused, calls(slow.hooks))
	}
	slow.answer = s
	a.mu.Lock()
	defer a.mu.Unlock()
	a.slow = append(a.slow, slow)
	return s
}

// suspects are the webhooks that may be why an answer took its time: the one that the server names, or else those
// that it calls and for which it would wait that long.
func (a *asking) suspects(q question, s Sample) []hook {
	called := slices.DeleteFunc(a.obs.hooks(), func(h hook) bool {
		return !a.obs.catches(h, q.operation, q.subresource, q.object)
	})
	name := RefusedBy(s.Refused)
	likely := slices.DeleteFunc(slices.Clone(called), func(h hook) bool {
		if name != "" {
			return h.name() != name
		}
		return s.Unanswered && h.timeout() < sampleTime
	})
	if len(likely) == 0 {
		return called
	}
	return likely
}

// foreseen returns what is known of a write because another one took its time: that the same webhook refuses it, or
// nothing, and that it is not worth another wait.
func (a *asking) foreseen(q question) (s Sample, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, slow := range a.slow {
		if len(slow.hooks) == 0 && slow.api == q.object.Resource.APIVersion() {
			return Sample{}, true
		}
		passed := func(h hook) bool { return !a.obs.catches(h, q.operation, q.subresource, q.object) }
		if len(slow.hooks) == 0 || slices.ContainsFunc(slow.hooks, passed) {
			continue
		}
		if slow.answer.Refused == "" || slices.ContainsFunc(slow.hooks, hook.conditional) {
			return Sample{}, true
		}
		return Sample{Refused: slow.answer.Refused, Unanswered: slow.answer.Unanswered, tried: 1,
			refused: []cluster.Ref{q.object.Ref()}}, true
	}
	return Sample{}, false
}

// conditional tells whether only the server knows for which objects it calls the webhook.
func (h hook) conditional() bool { return h.body["matchConditions"] != nil }

// What is said of webhooks that may be why there was no answer; see readRefusal.
const (
	silentWebhook  = "the API server calls the admission webhook "
	silentWebhooks = "the API server calls the admission webhooks "
)

// calls names the webhooks that a write has to pass.
func calls(hooks []hook) string {
	var names []string
	for _, h := range hooks {
		if name := fmt.Sprintf("%q", h.name()); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 1 {
		return silentWebhook + names[0]
	}
	return silentWebhooks + enumerate(names)
}
