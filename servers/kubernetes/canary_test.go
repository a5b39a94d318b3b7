package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// canaries returns a manifest with a secret, each of its own, wherever one may be found, and the secrets.
func canaries() (manifest string, secrets []string) {
	next := func() string {
		secret := fmt.Sprintf("Zq7%dvX9kT4mP2wL8s", len(secrets))
		secrets = append(secrets, secret)
		return secret
	}
	encoded := func() string {
		text := base64.StdEncoding.EncodeToString([]byte(next()))
		secrets = append(secrets, text)
		return text
	}
	manifest = `apiVersion: v1
kind: Secret
metadata:
  name: login
  namespace: shop
  labels: {note: ` + next() + `}
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"apiVersion":"v1","kind":"Secret","data":{"password":"` + encoded() + `"},"stringData":{"password":"` + next() + `"}}
    other: password=` + next() + `
immutable: ` + next() + `
type: ` + next() + `
data:
  password: ` + encoded() + `
stringData:
  password: ` + next() + `
---
apiVersion: v1
kind: Secret
metadata: {name: copy, namespace: shop, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"a":"` + encoded() + `"}}'}}
data: {a: [` + encoded() + `], b: {c: ` + encoded() + `}}
---
apiVersion: apps/v1
kind: Secret
metadata: {name: wrong, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"stringData":{"a":"` + next() + `"}}'}}
stringData: {a: ` + next() + `}
---
apiVersion: v1
kind: SecretList
items:
- data: {a: ` + encoded() + `}
  metadata: ` + next() + `
- {metadata: {name: listed}, stringData: {a: ` + next() + `}, containers: [{name: c, image: ` + next() + `}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop, annotations: {api-token: ` + next() + `}}
data:
  password: ` + next() + `
  settings.ini: |
    db_password = ` + next() + `
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"spec":{"template":{"spec":{"containers":[{"env":[{"name":"PASSWORD","value":"` + next() + `"}]}]}}}}'}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {password: ` + next() + `}}
    spec:
      initContainers:
      - name: i
        image: x
        command: [app, --password=` + next() + `]
        args: [--token, ` + next() + `]
      containers:
      - name: c
        image: x
        env:
        - {name: DB_PASSWORD, value: ` + next() + `}
        - {name: DB_PASSWORD, value: "$(LATER)` + next() + `"}
        - {name: LATER, value: later}
        - {name: FROM, valueFrom: {secretKeyRef: {name: login, key: gone}}}
        livenessProbe: {exec: {command: [check, ` + next() + `]}}
      volumes:
      - {name: s, secret: {secretName: login, items: [{key: password, path: p}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: broken, namespace: shop}
spec: {containers: [{name: c, image: x, env: [{name: PASSWORD, value: [` + next() + `]}]}]}
---
apiVersion: databases.example.com/v1
kind: Database
metadata: {name: db, namespace: shop}
spec: {password: ` + next() + `, template: {spec: {containers: [{name: c, env: [{name: P, value: ` + next() + `}]}]}}}
---
apiVersion: v1
kind: Secret
metadata: {name: unclosed}
stringData: {password: "` + next() + `
`
	return manifest, secrets
}

// TestCanaries sends the manifest through every tool and every form of check: no secret comes out, in results or errors.
func TestCanaries(t *testing.T) {
	manifest, secrets := canaries()
	if len(secrets) < 30 {
		t.Fatalf("%d secrets", len(secrets))
	}
	look := func(where, text string) {
		t.Helper()
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s tells the secret %s: %s", where, secret, text)
			}
		}
	}
	all, err := tools(mcpserver.Env{}, &options{})
	if err != nil {
		t.Fatal(err)
	}
	judging := 0
	for _, tool := range all {
		args := map[string]any{}
		var schema struct {
			Properties map[string]json.RawMessage `json:"properties"`
		}
		if err := json.Unmarshal(tool.Definition.InputSchema, &schema); err != nil {
			t.Fatal(err)
		}
		if _, ok := schema.Properties["text"]; ok {
			judging++
			args["text"] = manifest
		}
		raw, err := json.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		result, err := tool.Call(context.Background(), raw)
		look(tool.Definition.Name, fmt.Sprintf("%s %v", result.Structured, err))
		if err == nil && args["text"] != nil && !bytes.Contains(result.Structured, []byte("Pod/shop/broken")) {
			t.Errorf("%s says nothing of the broken Pod: %s", tool.Definition.Name, result.Structured)
		}
	}
	if judging < 2 {
		t.Errorf("%d tools take manifests", judging)
	}
	for _, args := range [][]string{{"-"}, {"--format", "json", "-"}, {"--format", "sarif", "-"}, {"--annotations", "--level", "baseline", "-"}} {
		var stdout, stderr bytes.Buffer
		newChecker().Command(context.Background(), args, strings.NewReader(manifest), &stdout, &stderr)
		look(fmt.Sprint(args), stdout.String()+stderr.String())
		if !strings.Contains(stdout.String(), "secrets/plain-env") {
			t.Errorf("check %v does not find the secret in the environment", args)
		}
	}
}
