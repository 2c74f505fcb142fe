package castai

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Error is a request that was not answered, or not with success.
type Error struct {
	// Operation says what was asked for: "get the cluster".
	Operation string
	// Status is the code of the answer; 0: there was none, or none that can be used.
	Status int
	// Message and FieldViolations are what the service says.
	Message         string
	FieldViolations []FieldViolation
	// RetryAfter is how long the service wants to be left alone.
	RetryAfter time.Duration
	// Err is the cause where there was no answer.
	Err error
}

// Error says what went wrong, and what to do now.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "can't %s: ", e.Operation)
	switch {
	case e.Status == 0:
		fmt.Fprintf(&b, "%v", e.Err)
	case e.Message != "":
		fmt.Fprintf(&b, "the Cast AI API answers %d: %s", e.Status, e.Message)
	default:
		fmt.Fprintf(&b, "the Cast AI API answers %d %s", e.Status, http.StatusText(e.Status))
	}
	for _, v := range e.FieldViolations {
		fmt.Fprintf(&b, " (%s: %s)", v.Field, v.Description)
	}
	if remedy := e.Remedy(); remedy != "" {
		b.WriteString(": " + remedy)
	}
	return b.String()
}

// Unwrap returns the cause where there was no answer.
func (e *Error) Unwrap() error { return e.Err }

// Remedy says what to do about it. The codes are not documented; these are
// those that Cast AI's own clients expect (terraform-provider-castai
// castai/cluster.go, sdk/utils_response.go).
func (e *Error) Remedy() string {
	switch {
	case e.Status == 0:
		return "check the network, a proxy, and --api-url"
	case e.badCredentials():
		return "the credentials that Cast AI has of your cloud account do not work (any more): repair them, then let the console reconcile the cluster"
	case e.Status == http.StatusUnauthorized:
		return "the key is not known there: it may have expired, or belong to another region (--api-url)"
	case e.Status == http.StatusForbidden:
		return "the key lacks the permission: use one of a user or service account that may write to the cluster, in the cluster's organization"
	case e.Status == http.StatusNotFound:
		return "with this key there is no such thing: a key sees one organization, in one region (--api-url)"
	case e.Status == http.StatusTooManyRequests && e.RetryAfter > 0:
		return fmt.Sprintf("too many requests: run it again in %s", e.RetryAfter)
	case e.Status == http.StatusTooManyRequests:
		return "too many requests: run it again in a few minutes"
	case e.Status == http.StatusConflict:
		return "somebody else has changed it meanwhile: run it again"
	case e.Status >= http.StatusInternalServerError:
		return "the fault is on Cast AI's side: run it again, and see status.cast.ai if it stays"
	}
	return ""
}

// badCredentials: terraform-provider-castai sdk/utils_response.go IsCredentialsError.
func (e *Error) badCredentials() bool {
	return e.Status == http.StatusBadRequest && e.Message == "Forbidden" && len(e.FieldViolations) > 0 &&
		e.FieldViolations[0].Field == "credentials"
}

// newError reads what the service says of an error. An answer that is not of
// the API, a proxy's page for example, has no message.
func newError(operation string, status int, body []byte) *Error {
	e := &Error{Operation: operation, Status: status}
	var text ErrorBody
	if json.Unmarshal(body, &text) == nil {
		e.Message, e.FieldViolations = text.Message, text.FieldViolations
	}
	return e
}

// IsStatus tells whether the service answered with one of the codes.
func IsStatus(err error, codes ...int) bool {
	var e *Error
	return errors.As(err, &e) && slices.Contains(codes, e.Status)
}

// IsGone tells whether the service does not have (any more) what was asked for.
func IsGone(err error) bool { return IsStatus(err, http.StatusNotFound) }

// IsConflict tells whether policies were changed since they were read. What the
// service says then is known, its code is not (terraform-provider-castai
// resource_autoscaler.go).
func IsConflict(err error) bool {
	var e *Error
	return IsStatus(err, http.StatusConflict) ||
		errors.As(err, &e) && (strings.Contains(e.Message, "template has changed") ||
			strings.Contains(e.Message, "refetch the policies"))
}

// IsPassing tells whether the same request may succeed later: there was no
// answer, or one of a service that is overloaded or broken.
func IsPassing(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Status == 0 || e.Status == http.StatusTooManyRequests ||
		e.Status >= http.StatusInternalServerError)
}
