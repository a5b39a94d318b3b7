package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

// forbidden is what credentials for reading logs must not be able to do. A log server that is broken into must be worth
// nothing: it can change nothing, run nothing, and read no Secret.
type forbidden struct {
	group    string
	resource string // RESOURCE or RESOURCE/SUBRESOURCE
	verbs    string
}

// forbiddenAccess is the list. The API server is asked about each verb, in each namespace of a source and in all.
func forbiddenAccess() []forbidden {
	const change = "create update patch delete deletecollection"
	return []forbidden{
		{"*", "*", "*"},
		{"", "secrets", "get list watch " + change},
		{"", "pods", change},
		{"", "pods/exec", "get create"},
		{"", "pods/attach", "get create"},
		{"", "pods/portforward", "get create"},
		{"", "pods/proxy", "get create"},
		{"", "pods/ephemeralcontainers", "update patch"},
		{"", "pods/eviction", "create"},
		{"", "pods/binding", "create"},
		{"", "nodes", change},
		{"", "nodes/proxy", "get create"},
		{"", "services", change},
		{"", "services/proxy", "get create"},
		{"", "configmaps", change},
		{"", "namespaces", change},
		{"", "persistentvolumeclaims", change},
		{"", "serviceaccounts", change + " impersonate"},
		{"", "serviceaccounts/token", "create"},
		{"", "replicationcontrollers", change},
		{"", "users", "impersonate"},
		{"", "groups", "impersonate"},
		{"apps", "deployments", change},
		{"apps", "deployments/scale", "update patch"},
		{"apps", "statefulsets", change},
		{"apps", "daemonsets", change},
		{"apps", "replicasets", change},
		{"batch", "jobs", change},
		{"batch", "cronjobs", change},
		{"networking.k8s.io", "networkpolicies", change},
		{"rbac.authorization.k8s.io", "roles", change + " bind escalate"},
		{"rbac.authorization.k8s.io", "rolebindings", change},
		{"rbac.authorization.k8s.io", "clusterroles", change + " bind escalate"},
		{"rbac.authorization.k8s.io", "clusterrolebindings", change},
		{"certificates.k8s.io", "certificatesigningrequests/approval", "update patch"},
		{"admissionregistration.k8s.io", "mutatingwebhookconfigurations", change},
		{"admissionregistration.k8s.io", "validatingwebhookconfigurations", change},
	}
}

// errTooMuch is wrapped by the error about credentials that may do more than read logs.
var errTooMuch = errors.New("the credentials may do more than read logs; give this server a service account with get and list of pods and get of pods/log alone")

// review asks the API server whether the credentials may do what they must not (SelfSubjectAccessReview). One yes, and one
// question without an answer, is an error.
func (a *api) review(ctx context.Context, namespaces []string) error {
	for _, namespace := range append([]string{""}, namespaces...) {
		for _, access := range forbiddenAccess() {
			for verb := range strings.FieldsSeq(access.verbs) {
				resource, sub, _ := strings.Cut(access.resource, "/")
				allowed, err := a.may(ctx, authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Group: access.group, Resource: resource, Subresource: sub})
				where := "in namespace " + namespace
				if namespace == "" {
					where = "in all namespaces"
				}
				if err != nil {
					return fmt.Errorf("asking whether the credentials may %s %s %s: %w", verb, access.resource, where, err)
				}
				if allowed {
					return fmt.Errorf("%w: they may %s %s %s", errTooMuch, verb, access.resource, where)
				}
			}
		}
	}
	return nil
}

// may asks one question.
func (a *api) may(ctx context.Context, attributes authorizationv1.ResourceAttributes) (bool, error) {
	question, err := json.Marshal(authorizationv1.SelfSubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: authorizationv1.SchemeGroupVersion.String(), Kind: "SelfSubjectAccessReview"},
		Spec:     authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &attributes},
	})
	if err != nil {
		return false, err
	}
	response, err := a.do(ctx, "the access review", http.MethodPost, nil, question, "apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews")
	if err != nil {
		return false, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := limit.ReadAll(response.Body, maxReview)
	if err != nil {
		return false, err
	}
	var answer struct {
		Kind   string `json:"kind"`
		Status *struct {
			Allowed         *bool  `json:"allowed"`
			EvaluationError string `json:"evaluationError"`
		} `json:"status"`
	}
	switch err := json.Unmarshal(body, &answer); {
	case err != nil || answer.Kind != "SelfSubjectAccessReview" || answer.Status == nil || answer.Status.Allowed == nil:
		return false, errors.New("the API server's answer is no SelfSubjectAccessReview")
	case *answer.Status.Allowed:
		return true, nil
	case answer.Status.EvaluationError != "":
		return false, errors.New("the API server could not evaluate all of its rules")
	}
	return false, nil
}
