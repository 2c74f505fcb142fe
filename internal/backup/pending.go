package backup

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// largestRelease bounds what a Helm record may unpack to: Secrets hold 1 MiB.
const largestRelease = 64 << 20

// inProgress tells whether an object is the record of a Helm release that
// somebody was working on. Put back as it is, it would block that release for
// ever: helm upgrade refuses ("another operation is in progress"), and Cast AI's
// operator waits for it.
func inProgress(u *unstructured.Unstructured) bool {
	labels := u.GetLabels()
	kind := u.GroupVersionKind().GroupKind().String()
	return labels["owner"] == "helm" && (kind == "Secret" || kind == "ConfigMap") &&
		(strings.HasPrefix(labels["status"], "pending-") || labels["status"] == "uninstalling")
}

// release makes the record of a release that was being worked on that of one that
// failed, which is the truth by then, and from which helm upgrade and Cast AI's
// operator go on.
func (c *cleaner) release() error {
	if !inProgress(c.Unstructured) {
		return nil
	}
	const failed = "failed"
	text, _, _ := unstructured.NestedString(c.Object, "data", "release")
	secret := c.GetKind() == "Secret"
	text, err := failedRelease(text, secret, failed)
	if err != nil {
		return err
	}
	why := fmt.Sprintf("its status was %s, and who worked on it is gone", c.GetLabels()["status"])
	c.set(why, text, "data", "release")
	labels := c.GetLabels()
	labels["status"] = failed
	c.SetLabels(labels)
	return nil
}

// progress is release, and says what of a record that can't be read: it is put
// back as it is.
func (c *cleaner) progress() {
	if err := c.release(); err != nil {
		c.changes = append(c.changes, Change{"data.release", fmt.Sprintf(
			"it stays %s, because it can't be read (%v): delete it before helm upgrade", c.GetLabels()["status"], err)})
	}
}

// failedRelease returns an encoded release with another status. Helm's storage
// drivers write base64 of gzip of JSON (helm.sh/helm/v3 pkg/storage/driver/util.go),
// and a Secret adds its own base64.
func failedRelease(text string, secret bool, status string) (string, error) {
	var err error
	raw := []byte(text)
	if secret {
		if raw, err = base64.StdEncoding.DecodeString(text); err != nil {
			return "", err
		}
	}
	if raw, err = base64.StdEncoding.DecodeString(string(raw)); err != nil {
		return "", err
	}
	if raw, err = unpack(raw); err != nil {
		return "", err
	}
	release := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&release); err != nil {
		return "", err
	}
	info, ok := release["info"].(map[string]any)
	if !ok {
		return "", errors.New("it has no info")
	}
	info["status"] = status
	if raw, err = json.Marshal(release); err != nil {
		return "", err
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(raw); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	text = base64.StdEncoding.EncodeToString(packed.Bytes())
	if secret {
		text = base64.StdEncoding.EncodeToString([]byte(text))
	}
	return text, nil
}

// unpack returns what is in a gzip stream, and what is none as it is: Helm 2 did
// not compress.
func unpack(raw []byte) ([]byte, error) {
	if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		return raw, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(r, largestRelease+1))
	if err == nil && len(out) > largestRelease {
		err = errors.New("it unpacks to too much")
	}
	return out, err
}
