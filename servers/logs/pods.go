package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// previousRun is what the name of a container's run before this one ends in.
const previousRun = "/previous"

// pods is a source of the logs of containers.
type pods struct {
	config podsConfig
	api    *api
}

// openPods makes the source, once the API server has said that its credentials can do nothing but read.
func openPods(c podsConfig, env mcpserver.Env) (*pods, error) {
	api, err := newAPI(c, env)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), reviewTimeout)
	defer cancel()
	if err := api.review(ctx, c.Namespaces); err != nil {
		return nil, err
	}
	return &pods{c, api}, nil
}

func (p *pods) kind() string { return "pods" }

// streams lists the containers of the pods that the selector names. A namespace that may not be read is a problem, and no
// error as long as another one may.
func (p *pods) streams(ctx context.Context) ([]stream, []string, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	var out []stream
	var problems []string
	var failed error
	for _, namespace := range p.config.Namespaces {
		found, err := p.namespace(ctx, namespace, &problems)
		if err != nil {
			failed = err
			problems = append(problems, "namespace "+namespace+": "+message(err))
			continue
		}
		out = append(out, found...)
	}
	if failed != nil && len(problems) >= len(p.config.Namespaces) && len(out) == 0 {
		return nil, nil, failed
	}
	slices.SortFunc(out, func(a, b stream) int { return cmp.Compare(a.name, b.name) })
	if len(out) > maxStreams {
		problems = append(problems, fmt.Sprintf("more than %d containers; the rest was not looked at", maxStreams))
		out = out[:maxStreams]
	}
	return out, problems, nil
}

func (p *pods) namespace(ctx context.Context, namespace string, problems *[]string) ([]stream, error) {
	var out []stream
	query := url.Values{"limit": {strconv.Itoa(podPage)}}
	if !p.config.selector.Empty() {
		query.Set("labelSelector", p.config.selector.String())
	}
	for range maxPodPages {
		body, err := p.api.get(ctx, "the pods of namespace "+namespace, query, maxPodPage, "api", "v1", "namespaces", namespace, "pods")
		if err != nil {
			return nil, err
		}
		var list corev1.PodList
		if err := json.Unmarshal(body, &list); err != nil {
			return nil, mcpserver.Errorf(mcpserver.CodeUnavailable, "the pods of namespace %s: the API server's answer is no list of pods", namespace)
		}
		for _, pod := range list.Items {
			if pod.Namespace == namespace && len(validation.IsDNS1123Subdomain(pod.Name)) == 0 {
				out = append(out, p.containers(pod)...)
			}
		}
		if list.Continue == "" {
			return out, nil
		}
		query.Set("continue", list.Continue)
	}
	*problems = append(*problems, fmt.Sprintf("namespace %s: more than %d pods; the rest was not looked at", namespace, maxPodPages*podPage))
	return out, nil
}

// containers are the logs of one pod.
func (p *pods) containers(pod corev1.Pod) []stream {
	var out []stream
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses) {
		if len(validation.IsDNS1123Label(status.Name)) > 0 {
			continue
		}
		name := pod.Namespace + "/" + pod.Name + "/" + status.Name
		out = append(out, stream{name: name, state: containerState(status.State, status.RestartCount), parts: []part{p.part(pod, status.Name, name, false)}})
		if status.LastTerminationState.Terminated != nil {
			name += previousRun
			out = append(out, stream{name: name, prior: true, state: containerState(status.LastTerminationState, 0), parts: []part{p.part(pod, status.Name, name, true)}})
		}
	}
	return out
}

// containerState says in a few words what a container does. Reasons are the kubelet's words.
func containerState(s corev1.ContainerState, restarts int32) string {
	state := "waiting"
	switch {
	case s.Running != nil:
		state = "running since " + shownTime(s.Running.StartedAt.Time)
	case s.Terminated != nil:
		state = fmt.Sprintf("ended with code %d, %s", s.Terminated.ExitCode, clip(s.Terminated.Reason, maxReason))
	case s.Waiting != nil:
		state = "waiting: " + clip(s.Waiting.Reason, maxReason)
	}
	if restarts > 0 {
		state += fmt.Sprintf(", restarted %d times", restarts)
	}
	return strings.ToValidUTF8(strings.TrimSuffix(state, ", "), "\ufffd")
}

func (p *pods) part(pod corev1.Pod, container, name string, previous bool) part {
	return part{
		id: "p", name: name, bytes: -1,
		open: func(ctx context.Context, want span) (opened, error) {
			log, err := p.read(ctx, pod.Namespace, pod.Name, container, previous, want)
			if err != nil {
				return opened{}, err
			}
			return opened{content: log, format: formatPod, clock: clock{zone: time.UTC, near: time.Now()}, close: func() {}, note: log.note, more: log.more}, nil
		},
	}
}

// read asks for a container's log: from its beginning, or enough of its end.
func (p *pods) read(ctx context.Context, namespace, pod, container string, previous bool, want span) (*podLog, error) {
	at, err := readPodMark(want.mark)
	if err != nil {
		return nil, err
	}
	query := url.Values{"container": {container}, "timestamps": {"true"}}
	if previous {
		query.Set("previous", "true")
	}
	since := want.since
	if !want.tail && at.time.After(since) {
		since = at.time
	}
	if !since.IsZero() {
		query.Set("sinceTime", since.UTC().Truncate(time.Second).Format(time.RFC3339))
	}
	until := want.until
	if want.tail && !at.time.IsZero() && (until.IsZero() || at.time.Before(until)) {
		until = at.time
	}
	for asked := max(podTailLines, at.asked); ; asked *= 2 {
		log := &podLog{tail: want.tail, asked: asked, whole: at.whole}
		if want.tail && !at.whole {
			query.Set("tailLines", strconv.Itoa(asked))
		}
		if err := p.fill(ctx, log, query, until, namespace, pod, container); err != nil {
			return nil, err
		}
		if len(log.lines) > 0 || !log.behind || asked >= maxTailLines {
			return log, nil
		}
	}
}

// fill sends one request.
func (p *pods) fill(ctx context.Context, log *podLog, query url.Values, until time.Time, namespace, pod, container string) error {
	what := fmt.Sprintf("the log of %s/%s/%s", namespace, pod, container)
	body, err := p.api.open(ctx, what, query, "api", "v1", "namespaces", namespace, "pods", pod, "log")
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	log.fill(body, until)
	return nil
}

// message is what an error says to a caller.
func message(err error) string {
	if visible, ok := errors.AsType[*mcpserver.Error](err); ok {
		return visible.Message
	}
	return err.Error()
}
