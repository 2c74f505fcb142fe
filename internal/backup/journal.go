package backup

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/castai/kubectl-castai/pkg/cluster"
	"github.com/castai/kubectl-castai/pkg/engine"
)

// Record is a line of a report that is written while a run goes on.
type Record struct {
	Time   time.Time        `json:"time"`
	Type   engine.EventType `json:"type"`
	Phase  string           `json:"phase,omitempty"`
	Verb   engine.Verb      `json:"verb,omitempty"`
	Object *cluster.Ref     `json:"object,omitempty"`
	// Operation is that of a call.
	Operation string `json:"operation,omitempty"`
	Message   string `json:"message,omitempty"`
	Error     string `json:"error,omitempty"`
}

// Ended is the type of the last line of a report. Without it the run was killed.
const Ended engine.EventType = "ended"

// Journal appends the events of a run to the report in the folder of a backup,
// each at once, so that there is a record of a run that is killed. The zero
// Journal writes nothing.
type Journal struct {
	mu   sync.Mutex
	file *os.File
	err  error
}

// OpenJournal opens the report in a folder, for appending.
func OpenJournal(dir string) (*Journal, error) {
	f, err := os.OpenFile(filepath.Join(dir, ReportName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, fileMode)
	if err != nil {
		return nil, err
	}
	return &Journal{file: f}, nil
}

// Event writes down one event. Close returns the first error.
func (j *Journal) Event(e engine.Event) {
	r := Record{Time: e.Time.UTC(), Type: e.Type, Verb: e.Verb, Operation: e.Operation, Message: e.Message}
	if e.Phase != nil {
		r.Phase = e.Phase.Name
	}
	if e.Target.Name != "" {
		r.Object = &e.Target.Ref
	}
	if e.Err != nil {
		r.Error = e.Err.Error()
	}
	j.write(r, e.Type == engine.PhaseEnded)
}

// Close writes the last line, with the error that ended the run, if one did.
func (j *Journal) Close(runErr error) error {
	r := Record{Time: time.Now().UTC(), Type: Ended}
	if runErr != nil {
		r.Error = runErr.Error()
	}
	j.write(r, true)
	if j.file == nil {
		return nil
	}
	return errors.Join(j.err, j.file.Close())
}

// write appends a line, in one write, and puts it on the disk if sync is set.
func (j *Journal) write(r Record, sync bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil || j.file == nil {
		return
	}
	line, err := json.Marshal(r)
	if err == nil {
		_, err = j.file.Write(append(line, '\n'))
	}
	if err == nil && sync {
		err = j.file.Sync()
	}
	j.err = err
}
