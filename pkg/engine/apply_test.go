package engine_test

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/castai/kubectl-castai/pkg/engine"
)

// put returns the action that applies an object.
func put(name string, content func(context.Context) (map[string]any, error)) engine.Action {
	return engine.Action{Verb: engine.Apply, Target: configMap(name).Target(), Content: content}
}

func TestApplyWaitsForAKindThatIsNotServedYet(t *testing.T) {
	f := newFake()
	f.fail = func(n int, _ string) error {
		if n <= 2 {
			return apierrors.NewNotFound(resource, "a")
		}
		return nil
	}
	r, err := run(t, f, engine.Phase{Name: "p", Actions: []engine.Action{
		put("a", func(context.Context) (map[string]any, error) { return map[string]any{"data": "x"}, nil }),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, r, "a"); got.Result != engine.ResultDone || f.objects[configMap("a").Ref()] == nil {
		t.Errorf("%+v after %v", got, f.writes)
	}
}

func TestApplyWithoutContentFails(t *testing.T) {
	f := newFake()
	r, err := run(t, f, engine.Phase{Name: "p", Actions: []engine.Action{
		put("a", func(context.Context) (map[string]any, error) {
			return nil, errors.New("the file has just been changed")
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, r, "a"); got.Result != engine.ResultFailed || len(f.writes) > 0 {
		t.Errorf("%+v after %v", got, f.writes)
	}
}

func TestReadyComesBeforeTheNextPhase(t *testing.T) {
	f := newFake()
	content := func(context.Context) (map[string]any, error) { return map[string]any{}, nil }
	ready := false
	_, err := run(t, f,
		engine.Phase{Name: "kinds", Actions: []engine.Action{put("kind", content)}, Ready: func(context.Context) error {
			ready = f.objects[configMap("kind").Ref()] != nil
			return nil
		}},
		engine.Phase{Name: "objects", Actions: []engine.Action{put("object", func(context.Context) (map[string]any, error) {
			if !ready {
				return nil, errors.New("too early")
			}
			return map[string]any{}, nil
		})}})
	if err != nil {
		t.Fatal(err)
	}
	if f.objects[configMap("object").Ref()] == nil {
		t.Errorf("writes %v", f.writes)
	}
}

// What somebody made since the plan was shown is theirs: nothing is written into it.
func TestCreateKeepsWhatIsThere(t *testing.T) {
	f := newFake(configMap("a"))
	create := put("a", func(context.Context) (map[string]any, error) { return map[string]any{"data": "x"}, nil })
	create.Verb = engine.Create
	r, err := run(t, f, engine.Phase{Name: "p", Actions: []engine.Action{create}})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, r, "a"); got.Result != engine.ResultKept || len(f.writes) > 0 {
		t.Errorf("%+v after %v", got, f.writes)
	}
}
