package kubelet

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const tokenDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// environment returns the variables of a container, by name.
func (p *pod) environment(ctx context.Context, api *corev1.Pod, c *corev1.Container) (map[string]string, error) {
	env, err := p.platform(api)
	if err != nil {
		return nil, err
	}
	for _, from := range c.EnvFrom {
		all, err := p.allOf(ctx, api.Namespace, from)
		if err != nil {
			return nil, err
		}
		for key, value := range all {
			env[from.Prefix+key] = string(value)
		}
	}
	for _, v := range c.Env {
		value := expand(v.Value, env)
		if v.ValueFrom != nil {
			var found bool
			if value, found, err = p.valueFrom(ctx, api, v.ValueFrom); err != nil {
				return nil, fmt.Errorf("variable %s: %w", v.Name, err)
			}
			if !found {
				continue
			}
		}
		env[v.Name] = value
	}
	return env, nil
}

// platform returns the variables that every container has. A pod that shares the machine also learns what it would
// otherwise find in the usual place.
func (p *pod) platform(api *corev1.Pod) (map[string]string, error) {
	env := map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin", "HOSTNAME": hostname(api)}
	if p.sandbox.isolated {
		env["KUBERNETES_SERVICE_HOST"], env["KUBERNETES_SERVICE_PORT"] = servicesAddress, "443"
		return env, nil
	}
	env[PodAddress], env[PodRoot], env["TMPDIR"] = p.sandbox.address, p.root, filepath.Join(p.root, "tmp")
	account := filepath.Join(p.root, tokenDir)
	if _, err := os.Stat(account); err != nil {
		return env, nil //nolint:nilerr // a pod without a token
	}
	path := filepath.Join(p.root, "kubeconfig")
	env[clientcmd.RecommendedConfigPathEnvVar] = path
	return env, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"pod": {
			Server: p.kubelet.cluster.URL(), CertificateAuthority: filepath.Join(account, corev1.ServiceAccountRootCAKey),
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"pod": {TokenFile: filepath.Join(account,
			corev1.ServiceAccountTokenKey)}},
		Contexts:       map[string]*clientcmdapi.Context{"pod": {Cluster: "pod", AuthInfo: "pod", Namespace: api.Namespace}},
		CurrentContext: "pod",
	}, path)
}

// allOf returns all keys of a Secret or ConfigMap.
func (p *pod) allOf(ctx context.Context, namespace string, from corev1.EnvFromSource) (map[string][]byte, error) {
	switch {
	case from.SecretRef != nil:
		return p.data(ctx, namespace, true, from.SecretRef.Name, optional(from.SecretRef.Optional))
	case from.ConfigMapRef != nil:
		return p.data(ctx, namespace, false, from.ConfigMapRef.Name, optional(from.ConfigMapRef.Optional))
	}
	return nil, nil
}

// data returns what a Secret or a ConfigMap holds.
func (p *pod) data(ctx context.Context, namespace string, secret bool, name string,
	optional bool) (data map[string][]byte, err error) {
	core := p.kubelet.client.CoreV1()
	if secret {
		var o *corev1.Secret
		if o, err = core.Secrets(namespace).Get(ctx, name, metav1.GetOptions{}); err == nil {
			return o.Data, nil
		}
	} else {
		var o *corev1.ConfigMap
		if o, err = core.ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{}); err == nil {
			data = map[string][]byte{}
			for key, value := range o.Data {
				data[key] = []byte(value)
			}
			return data, nil
		}
	}
	if apierrors.IsNotFound(err) && optional {
		return nil, nil
	}
	return nil, err
}

// valueFrom returns the value of a variable that is found elsewhere, unless it is optional and not there.
func (p *pod) valueFrom(ctx context.Context, api *corev1.Pod, from *corev1.EnvVarSource) (value string, found bool,
	err error) {
	if from.FieldRef != nil {
		value, err = field(api, from.FieldRef.FieldPath, p.ip)
		return value, true, err
	}
	var key, name string
	var may, secret bool
	switch {
	case from.SecretKeyRef != nil:
		key, name, may, secret = from.SecretKeyRef.Key, from.SecretKeyRef.Name, optional(from.SecretKeyRef.Optional), true
	case from.ConfigMapKeyRef != nil:
		key, name, may = from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Name, optional(from.ConfigMapKeyRef.Optional)
	default:
		return "", false, fmt.Errorf("the kubelet for processes has no variables of this kind")
	}
	data, err := p.data(ctx, api.Namespace, secret, name, may)
	if err != nil {
		return "", false, err
	}
	content, found := data[key]
	if !found && !may {
		return "", false, fmt.Errorf("couldn't find key %s in %s/%s", key, api.Namespace, name)
	}
	return string(content), found, nil
}

// field returns a field of a pod by its path in the downward API.
func field(api *corev1.Pod, path, ip string) (string, error) {
	if kind, rest, ok := strings.Cut(strings.TrimSuffix(path, "']"), "['"); ok {
		switch kind {
		case "metadata.labels":
			return api.Labels[rest], nil
		case "metadata.annotations":
			return api.Annotations[rest], nil
		}
	}
	switch path {
	case "metadata.name":
		return api.Name, nil
	case "metadata.namespace":
		return api.Namespace, nil
	case "metadata.uid":
		return string(api.UID), nil
	case "metadata.labels":
		return formatMap(api.Labels), nil
	case "metadata.annotations":
		return formatMap(api.Annotations), nil
	case "spec.nodeName":
		return api.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return api.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return "127.0.0.1", nil
	case "status.podIP":
		return ip, nil
	}
	return "", fmt.Errorf("the kubelet for processes does not know the field %s", path)
}

func formatMap(m map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s=%q\n", key, m[key])
	}
	return b.String()
}

// expand replaces $(NAME) by the variable, if there is one, and $$(NAME) by $(NAME).
func expand(s string, env map[string]string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, rest, closed := strings.Cut(strings.TrimPrefix(after, "("), ")")
		switch {
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			s = after[1:]
			// What follows an escaped $ is not looked at.
			if rest, ok := strings.CutPrefix(s, "("); ok {
				b.WriteByte('(')
				s = rest
			}
		case strings.HasPrefix(after, "(") && closed && hasKey(env, name):
			b.WriteString(env[name])
			s = rest
		default:
			b.WriteByte('$')
			s = after
		}
	}
}

func hasKey(m map[string]string, key string) bool {
	_, ok := m[key]
	return ok
}

// hostname returns the name that a pod has on the network.
func hostname(api *corev1.Pod) string {
	if api.Spec.Hostname != "" {
		return api.Spec.Hostname
	}
	return api.Name
}
