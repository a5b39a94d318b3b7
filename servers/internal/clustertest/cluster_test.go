package clustertest

import (
	"encoding/json"
	"net/http"
	"testing"
)

// TestCluster: what is created is kept, who has no token is nobody, and a user may do what was granted and nothing else.
func TestCluster(t *testing.T) {
	c := Start(t, Options{Users: []string{"reader"}})
	send := func(user, method, path, body string, want int) []byte {
		t.Helper()
		status, answer, err := c.Do(t.Context(), user, method, path, "application/json", []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if status != want {
			t.Errorf("%s as %q: %s %s: %d, want %d: %s", method, user, path, body, status, want, answer)
		}
		return answer
	}
	var version struct{ GitVersion string }
	if err := json.Unmarshal(send(Admin, http.MethodGet, "/version", "", http.StatusOK), &version); err != nil || version.GitVersion == "" {
		t.Errorf("version %q, %v", version.GitVersion, err)
	}
	t.Log("API server", version.GitVersion)

	const config = "/api/v1/namespaces/default/configmaps"
	send(Admin, http.MethodPost, config, `{"metadata":{"name":"a"},"data":{"b":"c"}}`, http.StatusCreated)
	send("", http.MethodGet, config+"/a", "", http.StatusUnauthorized)
	send("reader", http.MethodGet, config+"/a", "", http.StatusForbidden)
	send(Admin, http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles",
		`{"metadata":{"name":"read"},"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get"]}]}`, http.StatusCreated)
	send(Admin, http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
		`{"metadata":{"name":"read"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"read"},
		"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"reader"}]}`, http.StatusCreated)
	send("reader", http.MethodGet, config+"/a", "", http.StatusOK)
	send("reader", http.MethodDelete, config+"/a", "", http.StatusForbidden)
}
