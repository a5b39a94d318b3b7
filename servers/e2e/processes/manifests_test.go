package processes

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	fewObjects    = 1000
	manyObjects   = 10_000
	objectsOfFile = 100
)

// ordinary are the objects of a service, as most people write them. %[1]d is its number, and that of the namespace.
const ordinary = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop-%[1]d
  namespace: team-%[2]d
  labels: {app.kubernetes.io/name: shop, app.kubernetes.io/instance: shop-%[1]d}
spec:
  replicas: 2
  selector:
    matchLabels: {app.kubernetes.io/name: shop, app.kubernetes.io/instance: shop-%[1]d}
  template:
    metadata:
      labels: {app.kubernetes.io/name: shop, app.kubernetes.io/instance: shop-%[1]d}
    spec:
      serviceAccountName: shop-%[1]d
      automountServiceAccountToken: false
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        seccompProfile: {type: RuntimeDefault}
      containers:
      - name: shop
        image: registry.example/shop:1.4.2
        imagePullPolicy: IfNotPresent
        args: ["--listen=:8080", "--config=/etc/shop/config.yaml"]
        env:
        - name: LOG_LEVEL
          value: info
        - name: DATABASE_PASSWORD
          valueFrom:
            secretKeyRef: {name: shop-%[1]d, key: password}
        ports:
        - {name: http, containerPort: 8080, protocol: TCP}
        resources:
          requests: {cpu: 100m, memory: 128Mi}
          limits: {memory: 256Mi}
        readinessProbe:
          httpGet: {path: /ready, port: http}
          periodSeconds: 5
        livenessProbe:
          httpGet: {path: /healthz, port: http}
          periodSeconds: 10
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {drop: [ALL]}
        volumeMounts:
        - {name: config, mountPath: /etc/shop, readOnly: true}
      volumes:
      - name: config
        configMap: {name: shop-%[1]d}
---
apiVersion: v1
kind: Service
metadata: {name: shop-%[1]d, namespace: team-%[2]d}
spec:
  selector: {app.kubernetes.io/name: shop, app.kubernetes.io/instance: shop-%[1]d}
  ports:
  - {name: http, port: 80, targetPort: http}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: shop-%[1]d, namespace: team-%[2]d}
data:
  config.yaml: |
    listen: :8080
    cache: {size: 128, ttl: 30s}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: shop-%[1]d, namespace: team-%[2]d}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop-%[1]d, namespace: team-%[2]d}
spec:
  ingressClassName: nginx
  tls:
  - {hosts: [shop-%[1]d.example], secretName: shop-%[1]d-tls}
  rules:
  - host: shop-%[1]d.example
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {service: {name: shop-%[1]d, port: {name: http}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shop-%[1]d, namespace: team-%[2]d}
spec:
  podSelector:
    matchLabels: {app.kubernetes.io/instance: shop-%[1]d}
  policyTypes: [Ingress]
  ingress:
  - ports: [{port: 8080}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: shop-%[1]d, namespace: team-%[2]d}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {app.kubernetes.io/instance: shop-%[1]d}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: shop-%[1]d, namespace: team-%[2]d}
rules:
- {apiGroups: [""], resources: [configmaps], resourceNames: [shop-%[1]d], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: shop-%[1]d, namespace: team-%[2]d}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: shop-%[1]d}
subjects:
- {kind: ServiceAccount, name: shop-%[1]d, namespace: team-%[2]d}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: shop-%[1]d-report, namespace: team-%[2]d}
spec:
  schedule: "0 3 * * *"
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          serviceAccountName: shop-%[1]d
          containers:
          - name: report
            image: registry.example/report:2.0
            resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 64Mi}}
`

// BenchmarkManifests prints what it costs to check ordinary objects with everything on, how that grows with their number, and how
// many times as much it is as parsing their YAML into nodes, which nobody can do without.
func BenchmarkManifests(b *testing.B) {
	dir := folder(b, "bin", "few", "many")
	build(b, dir, "kubernetes")
	writeObjects(b, filepath.Join(dir, "few"), fewObjects)
	writeObjects(b, filepath.Join(dir, "many"), manyObjects)
	handOver(b, dir)
	few, many := checkObjects(b, dir, "few"), checkObjects(b, dir, "many")
	parsing := parseObjects(b, filepath.Join(dir, "many"))
	for _, c := range []struct {
		objects int
		cost    cost
	}{{fewObjects, few}, {manyObjects, many}} {
		b.Logf("%6d objects: %5.2f s of CPU, %5.2f s, %5.1f MB resident at most, %.1f µs of CPU each", c.objects, c.cost.cpu.Seconds(), c.cost.wall.Seconds(), c.cost.memory/1e6, c.cost.cpu.Seconds()*1e6/float64(c.objects))
	}
	b.Logf("an object among %d costs %.2f times what it does among %d; all cost %.1f times the parsing of their YAML alone",
		manyObjects, many.cpu.Seconds()/few.cpu.Seconds()*fewObjects/manyObjects, fewObjects, many.cpu.Seconds()/parsing.Seconds())
}

type cost struct {
	cpu, wall time.Duration
	memory    float64 // bytes
}

// writeObjects writes n objects in files of a hundred.
func writeObjects(b *testing.B, dir string, n int) {
	b.Helper()
	each := bytes.Count([]byte(ordinary), []byte("\n---\n")) + 1
	services := 0
	for file := range n / objectsOfFile {
		var text bytes.Buffer
		for range objectsOfFile / each {
			if text.Len() > 0 {
				text.WriteString("---\n")
			}
			fmt.Fprintf(&text, ordinary, services, services/20)
			services++
		}
		must(b, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.yaml", file)), text.Bytes(), 0o600))
	}
}

// checkObjects runs the check of a folder, as a pipeline does.
func checkObjects(b *testing.B, dir, name string) cost {
	b.Helper()
	cmd := command(b, filepath.Join(dir, "bin", "kubernetes"), "check", "--format", "json", filepath.Join(dir, name))
	var problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &problems
	began := time.Now()
	err := cmd.Run()
	wall := time.Since(began)
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() > 1 {
		b.Fatalf("%v: %s", err, &problems)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		b.Fatal("no resource usage")
	}
	return cost{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), wall: wall, memory: float64(usage.Maxrss) * 1024}
}

// parseObjects is the time that the parser takes for the files of a folder, in this process.
func parseObjects(b *testing.B, dir string) time.Duration {
	b.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	must(b, err)
	var texts [][]byte
	for _, name := range files {
		text, err := os.ReadFile(name)
		must(b, err)
		texts = append(texts, text)
	}
	began := time.Now()
	for _, text := range texts {
		for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
			var n yaml.Node
			must(b, yaml.Unmarshal(document, &n))
		}
	}
	return time.Since(began)
}
