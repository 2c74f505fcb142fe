package kubelet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// files are the contents of a volume, by path.
type files map[string][]byte

// volumes keeps the volumes of a pod up to date.
type volumes struct {
	pod *pod
	// tokens are those that the pod got, by audience.
	tokens map[string]token
}

type token struct {
	value string
	renew time.Time
}

// dir is where a volume is, seen from outside of the pod.
func (v *volumes) dir(name string) string { return filepath.Join(v.pod.root, ".volumes", name) }

// sync writes every volume of the pod as it should be now.
func (v *volumes) sync(ctx context.Context, api *corev1.Pod) error {
	for i := range api.Spec.Volumes {
		volume := &api.Spec.Volumes[i]
		if err := os.MkdirAll(v.dir(volume.Name), 0o700); err != nil {
			return err
		}
		content, err := v.content(ctx, api, volume)
		if err == nil && content != nil {
			err = write(v.dir(volume.Name), content)
		}
		if err != nil {
			return fmt.Errorf("MountVolume.SetUp failed for volume %q: %w", volume.Name, err)
		}
	}
	return nil
}

// mount makes the volumes of a container visible in the pod.
func (v *volumes) mount(container *corev1.Container) error {
	for _, m := range container.VolumeMounts {
		if m.SubPath != "" || m.SubPathExpr != "" {
			return fmt.Errorf("mount volume %q: the kubelet for processes has no subPath", m.Name)
		}
		path := filepath.Join(v.pod.root, m.MountPath)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		target, err := filepath.Rel(filepath.Dir(path), v.dir(m.Name))
		if err != nil {
			return err
		}
		if now, err := os.Readlink(path); err == nil && now == target {
			continue // another container of the pod has it too
		}
		if err := os.Symlink(target, path); err != nil {
			return fmt.Errorf("mount volume %q: %w", m.Name, err)
		}
	}
	return nil
}

// content returns what belongs into a volume, or nil for one that the pod fills.
func (v *volumes) content(ctx context.Context, api *corev1.Pod, volume *corev1.Volume) (files, error) {
	switch {
	case volume.EmptyDir != nil:
		return nil, nil
	case volume.Secret != nil:
		source := volume.Secret
		return v.secret(ctx, api, source.SecretName, source.Items, optional(source.Optional))
	case volume.ConfigMap != nil:
		source := volume.ConfigMap
		return v.configMap(ctx, api, source.Name, source.Items, optional(source.Optional))
	case volume.DownwardAPI != nil:
		return downward(api, volume.DownwardAPI.Items)
	case volume.Projected != nil:
		return v.projected(ctx, api, volume.Projected.Sources)
	default:
		return nil, errors.New("the kubelet for processes has no volumes of this kind")
	}
}

func optional(o *bool) bool { return o != nil && *o }

func (v *volumes) projected(ctx context.Context, api *corev1.Pod, sources []corev1.VolumeProjection) (files, error) {
	all := files{}
	for _, s := range sources {
		var part files
		var err error
		switch {
		case s.ServiceAccountToken != nil:
			part, err = v.token(ctx, api, s.ServiceAccountToken)
		case s.ConfigMap != nil:
			part, err = v.configMap(ctx, api, s.ConfigMap.Name, s.ConfigMap.Items, optional(s.ConfigMap.Optional))
		case s.Secret != nil:
			part, err = v.secret(ctx, api, s.Secret.Name, s.Secret.Items, optional(s.Secret.Optional))
		case s.DownwardAPI != nil:
			part, err = downward(api, s.DownwardAPI.Items)
		default:
			err = errors.New("the kubelet for processes has no projections of this kind")
		}
		if err != nil {
			return nil, err
		}
		maps.Copy(all, part)
	}
	return all, nil
}

// token returns a token of the pod's ServiceAccount, bound to the pod, and asks for another one when most of its time
// is over.
func (v *volumes) token(ctx context.Context, api *corev1.Pod, p *corev1.ServiceAccountTokenProjection) (files, error) {
	if t := v.tokens[p.Audience]; time.Now().Before(t.renew) {
		return files{p.Path: []byte(t.value)}, nil
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: p.ExpirationSeconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: api.Name,
			UID: api.UID},
	}}
	if p.Audience != "" {
		request.Spec.Audiences = []string{p.Audience}
	}
	accounts := v.pod.kubelet.client.CoreV1().ServiceAccounts(api.Namespace)
	answer, err := accounts.CreateToken(ctx, api.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	life := time.Until(answer.Status.ExpirationTimestamp.Time)
	v.tokens[p.Audience] = token{answer.Status.Token, time.Now().Add(life * 8 / 10)}
	return files{p.Path: []byte(answer.Status.Token)}, nil
}

func (v *volumes) secret(ctx context.Context, api *corev1.Pod, name string, items []corev1.KeyToPath,
	optional bool) (files, error) {
	secret, err := v.pod.kubelet.client.CoreV1().Secrets(api.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && optional {
		return files{}, nil
	}
	if err != nil {
		return nil, err
	}
	return choose(secret.Data, items, optional)
}

func (v *volumes) configMap(ctx context.Context, api *corev1.Pod, name string, items []corev1.KeyToPath,
	optional bool) (files, error) {
	configMap, err := v.pod.kubelet.client.CoreV1().ConfigMaps(api.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && optional {
		return files{}, nil
	}
	if err != nil {
		return nil, err
	}
	all := files{}
	for key, value := range configMap.Data {
		all[key] = []byte(value)
	}
	maps.Copy(all, configMap.BinaryData)
	return choose(all, items, optional)
}

// choose returns the items of data under their paths, or all of it if none is named.
func choose(data map[string][]byte, items []corev1.KeyToPath, optional bool) (files, error) {
	out := files{}
	if len(items) == 0 {
		maps.Copy(out, data)
	}
	for _, item := range items {
		value, ok := data[item.Key]
		if !ok && !optional {
			return nil, fmt.Errorf("references non-existent key: %s", item.Key)
		}
		if ok {
			out[item.Path] = value
		}
	}
	return out, nil
}

func downward(api *corev1.Pod, items []corev1.DownwardAPIVolumeFile) (files, error) {
	out := files{}
	for _, item := range items {
		if item.FieldRef == nil {
			return nil, errors.New("the kubelet for processes knows no resources of containers")
		}
		value, err := field(api, item.FieldRef.FieldPath, "")
		if err != nil {
			return nil, err
		}
		out[item.Path] = []byte(value)
	}
	return out, nil
}

// current names the link to what a volume holds now, as in upstream's kubelet. It is replaced in one step, so that a
// program sees either all of the old files or all of the new ones.
const current = "..data"

// write lets a volume hold the files, and nothing else.
func write(dir string, content files) error {
	if same(filepath.Join(dir, current), content) {
		return nil
	}
	fresh, err := os.MkdirTemp(dir, "..")
	if err != nil {
		return err
	}
	for path, data := range content {
		file := filepath.Join(fresh, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return err
		}
	}
	old, err := os.Readlink(filepath.Join(dir, current))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	next := filepath.Join(dir, "..next")
	if err := os.Symlink(filepath.Base(fresh), next); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(dir, current)); err != nil {
		return err
	}
	if err := link(dir, content); err != nil || old == "" {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, old))
}

// link makes the files of a volume visible under their own names.
func link(dir string, content files) error {
	tops := map[string]bool{}
	for path := range content {
		top, _, _ := strings.Cut(path, "/")
		tops[top] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") || tops[e.Name()] {
			delete(tops, e.Name())
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	for top := range tops {
		if err := os.Symlink(filepath.Join(current, top), filepath.Join(dir, top)); err != nil {
			return err
		}
	}
	return nil
}

// same tells whether a directory holds the files, and nothing else.
func same(dir string, content files) bool {
	found := 0
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	root := os.DirFS(dir)
	err = fs.WalkDir(root, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, name)
		if wanted, ok := content[name]; err == nil && (!ok || !bytes.Equal(data, wanted)) {
			return fs.ErrInvalid
		}
		found++
		return err
	})
	return err == nil && found == len(content)
}
