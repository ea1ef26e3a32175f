package cluster

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// API servers quote what they refuse, and that may be secret: "Invalid value: …". What follows says which field it is, and
// what kind of fault, in words of ferry's own.

// maxCauses of one refusal are told.
const maxCauses = 3

// faults words the types of causes.
var faults = map[metav1.CauseType]string{
	metav1.CauseTypeFieldValueNotFound:     "names something that is not there",
	metav1.CauseTypeFieldValueRequired:     "is required",
	metav1.CauseTypeFieldValueDuplicate:    "is there twice",
	metav1.CauseTypeFieldValueInvalid:      "is not valid",
	metav1.CauseTypeFieldValueNotSupported: "has a value that is not supported",
	metav1.CauseTypeForbidden:              "is not allowed",
	metav1.CauseTypeTooLong:                "is too long",
	metav1.CauseTypeTooMany:                "has too many entries",
	metav1.CauseTypeInternal:               "cannot be checked",
	metav1.CauseTypeTypeInvalid:            "has the wrong type",
}

var (
	// fieldPath is what API servers call a field; keys of maps may be in it, values are not.
	fieldPath = regexp.MustCompile(`^[A-Za-z0-9_$][A-Za-z0-9_$./\-\[\]]{0,199}$`)
	// schemaFault is how server-side apply says that an object does not fit its schema: a path, whose keys are the names of list
	// items, and what is wrong.
	schemaFault = regexp.MustCompile(`(\.[A-Za-z0-9_$.\-]+(?:\[[A-Za-z]+="?[A-Za-z0-9_.\-/]+"?(?:,[A-Za-z]+="?[A-Za-z0-9_.\-/]+"?)*\][A-Za-z0-9_$.\-]*)*): (field not declared in schema|expected [a-z ()]+, got|duplicate entries)`)
	// unchangeable is how API servers, webhooks and rules in custom resources say that a field may not be changed: the texts of
	// Kubernetes' own validation among them.
	unchangeable = regexp.MustCompile(`is immutable|immutable field|may not change once set|cannot be changed|cannot change roleRef|may not be changed|updates to statefulset spec for fields other than|may not be updated|changing the group|pod updates may not change fields`)
	// unauthorised is how the API server's authorizer says no; admission says no with the same code.
	unauthorised = regexp.MustCompile(`cannot (get|list|create|update|patch) resource`)
	webhook      = regexp.MustCompile(`admission webhook "([A-Za-z0-9.\-]{1,253})"`)
	policy       = regexp.MustCompile(`ValidatingAdmissionPolicy '([A-Za-z0-9.\-]{1,253})'`)
	callee       = regexp.MustCompile(`failed calling webhook "([A-Za-z0-9.\-]{1,253})"`)
	dryRunless   = regexp.MustCompile(`does not support dry run`)
)

// forbidden says that ferry lacks a right, not that a rule of the cluster forbids this object.
func forbidden(err error) bool {
	return apierrors.IsForbidden(err) && unauthorised.MatchString(err.Error())
}

// immutable says that the API server refuses to change what cannot be changed.
func immutable(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && unchangeable.MatchString(err.Error())
}

// worded says why the API server refuses an object, without any value of it.
func worded(err error) error {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return errors.New("the API server could not be asked")
	}
	status, text := answer.Status(), err.Error()
	if m := callee.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("the admission webhook %s does not answer", m[1])
	}
	if m := webhook.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("the admission webhook %s refuses it", m[1])
	}
	if m := policy.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("the admission policy %s refuses it", m[1])
	}
	var causes []string
	if status.Details != nil && status.Reason == metav1.StatusReasonInvalid {
		for _, c := range status.Details.Causes {
			field, fault := c.Field, faults[c.Type]
			if !fieldPath.MatchString(field) {
				field = "a field"
			}
			switch {
			case unchangeable.MatchString(c.Message):
				fault = "cannot be changed"
			case fault == "":
				fault = "is not valid"
			}
			causes = append(causes, field+" "+fault)
		}
	}
	for _, m := range schemaFault.FindAllStringSubmatch(text, -1) {
		fault := "has the wrong type"
		switch {
		case strings.HasPrefix(m[2], "field not"):
			fault = "is not a field of this kind"
		case strings.HasPrefix(m[2], "duplicate"):
			fault = "has an entry twice"
		}
		causes = append(causes, strings.TrimPrefix(m[1], ".")+" "+fault)
	}
	if len(causes) > maxCauses {
		causes = append(causes[:maxCauses], fmt.Sprintf("and %d more", len(causes)-maxCauses))
	}
	if len(causes) > 0 {
		return errors.New(strings.Join(causes, ", "))
	}
	switch {
	case strings.Contains(text, "violates PodSecurity"):
		return errors.New("the namespace's pod security level forbids it")
	case strings.Contains(text, "exceeded quota"):
		return errors.New("it exceeds a quota of its namespace")
	case strings.Contains(text, "quantities must match"):
		return errors.New("a quantity is not valid")
	case strings.Contains(text, "illegal base64 data"):
		return errors.New("a value is not base64")
	case apierrors.IsForbidden(err):
		return errors.New("a rule of the cluster forbids it")
	}
	switch reason := apierrors.ReasonForError(err); reason {
	case metav1.StatusReasonUnknown:
		return fmt.Errorf("the API server answers %d", status.Code)
	default:
		return fmt.Errorf("the API server says %s", reason)
	}
}
