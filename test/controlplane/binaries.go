package controlplane

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// The names of the components, which are also the names of their binaries.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kwok              = "kwok"
)

const modulePath = "github.com/castai/kubectl-castai/test/controlplane"

// VersionVariable names the environment variable that chooses the version of
// Kubernetes, as MINOR or MINOR@EMULATED: 1.30, or 1.36@1.35 for a server of
// 1.36 that behaves as 1.35. The default is the version of binaries/kubernetes.
const VersionVariable = "KUBERNETES_VERSION"

// version is the content of VersionVariable.
type version struct{ minor, emulated string }

func chosenVersion() version {
	minor, emulated, _ := strings.Cut(os.Getenv(VersionVariable), "@")
	return version{minor, emulated}
}

// module returns the folder below binaries/ that pins this version.
func (v version) module(src string) (string, error) {
	const module = "kubernetes"
	pinned, err := os.ReadFile(filepath.Join(src, "binaries", module, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("read the version of Kubernetes: %w", err)
	}
	if found := kubernetesVersion.FindSubmatch(pinned); v.minor == "" || found != nil &&
		v.minor == fmt.Sprintf("%s.%s", found[2], found[3]) {
		return module, nil
	}
	other := module + "-" + v.minor
	if _, err := os.Stat(filepath.Join(src, "binaries", other, "go.mod")); err != nil {
		return "", fmt.Errorf("%s=%s: binaries/%s has no go.mod: %w", VersionVariable, v.minor, other, err)
	}
	return other, nil
}

// source says where a binary comes from: a package, and the module below
// binaries/ whose go.mod pins it.
type source struct{ name, module, pkg string }

// sources returns where the binaries come from, those of Kubernetes from the
// given module.
func sources(kubernetes string) []source {
	return []source{
		{Etcd, "etcd", "go.etcd.io/etcd/server/v3"},
		{APIServer, kubernetes, "k8s.io/kubernetes/cmd/kube-apiserver"},
		{ControllerManager, kubernetes, "k8s.io/kubernetes/cmd/kube-controller-manager"},
		{Scheduler, kubernetes, "k8s.io/kubernetes/cmd/kube-scheduler"},
		{"kubectl", kubernetes, "k8s.io/kubernetes/cmd/kubectl"},
		{Kwok, "kwok", "sigs.k8s.io/kwok/cmd/kwok"},
	}
}

// Bin holds the paths of the binaries.
type Bin struct {
	Etcd              string
	APIServer         string
	ControllerManager string
	Scheduler         string
	Kubectl           string
	Kwok              string
}

// CacheDir returns the folder that holds everything this package keeps between
// runs: the binaries, and the clusters of the controlplane command.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(dir, "kubectl-castai", "controlplane"), nil
}

// Binaries returns the paths of all binaries and builds those that are missing,
// which takes minutes the first time. The result is cached by content: other
// checkouts and later runs build nothing. Binaries found in the folder named by
// the environment variable KUBEBUILDER_ASSETS are used as they are.
func Binaries(ctx context.Context) (Bin, error) {
	paths := map[string]string{}
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	all := sources("")
	for _, s := range all {
		if path := filepath.Join(assets, s.name); assets != "" && executable(path) {
			paths[s.name] = path
		}
	}
	if len(paths) < len(all) {
		if err := buildMissing(ctx, paths); err != nil {
			return Bin{}, err
		}
	}
	return Bin{
		Etcd:              paths[Etcd],
		APIServer:         paths[APIServer],
		ControllerManager: paths[ControllerManager],
		Scheduler:         paths[Scheduler],
		Kubectl:           paths["kubectl"],
		Kwok:              paths[Kwok],
	}, nil
}

// buildMissing adds to paths every binary that is not in it yet.
func buildMissing(ctx context.Context, paths map[string]string) error {
	src, err := sourceDir(ctx)
	if err != nil {
		return err
	}
	kubernetes, err := chosenVersion().module(src)
	if err != nil {
		return err
	}
	cache, err := CacheDir()
	if err != nil {
		return err
	}

	var unlock func()
	for _, s := range sources(kubernetes) {
		if paths[s.name] != "" {
			continue
		}
		ldflags, err := stamps(filepath.Join(src, "binaries", s.module))
		if err != nil {
			return err
		}
		key, err := cacheKey(src, s.module, ldflags)
		if err != nil {
			return err
		}
		dir := filepath.Join(cache, s.module+"-"+key)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("create the folder for binaries: %w", err)
		}
		path := filepath.Join(dir, s.name)
		// Once the lock is held, look again: somebody else may have built it.
		if !executable(path) && unlock == nil {
			if unlock, err = lock(ctx, filepath.Join(cache, "build.lock")); err != nil {
				return err
			}
			defer unlock()
		}
		if !executable(path) {
			if err := build(ctx, filepath.Join(src, "binaries", s.module), s.pkg, ldflags, path); err != nil {
				return err
			}
		}
		paths[s.name] = path
	}
	return nil
}

// build compiles pkg of the module in dir. The result appears under path only
// when it is complete.
func build(ctx context.Context, dir, pkg, ldflags, path string) error {
	name := filepath.Base(path)
	fmt.Fprintf(os.Stderr, "controlplane: building %s (only once, this can take minutes)\n", name)
	begin := time.Now()
	part := path + ".part"
	//nolint:gosec // all arguments are constants of this package and paths below the cache
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-tags="+buildTags,
		"-ldflags="+ldflags, "-o", part, pkg)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("build %s: %w", name, err)
	}
	fmt.Fprintf(os.Stderr, "controlplane: built %s in %s\n", name, time.Since(begin).Round(time.Second))
	return nil
}

// sourceDir returns the folder of this module, also in programs that were
// compiled with -trimpath.
func sourceDir(ctx context.Context) (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok {
		dir := filepath.Dir(file)
		if info, err := os.Stat(filepath.Join(dir, "binaries")); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", modulePath).Output()
	if err != nil {
		return "", fmt.Errorf("find the sources of %s (run this inside its checkout): %w", modulePath, err)
	}
	return strings.TrimSpace(string(out)), nil
}

var kubernetesVersion = regexp.MustCompile(`(?m)^\s*k8s\.io/kubernetes (v(\d+)\.(\d+)\.\S+)`)

// buildTags leaves the clouds out of releases up to 1.30, which would need their
// SDKs; later ones do not know the tag.
const buildTags = "providerless"

// stamps returns the linker flags for the binaries of a module. Those of
// Kubernetes get the version of the release that they are built from.
func stamps(module string) (string, error) {
	mod, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("read the version of Kubernetes: %w", err)
	}
	flags := []string{"-s", "-w"}
	v := kubernetesVersion.FindSubmatch(mod)
	if v == nil {
		return strings.Join(flags, " "), nil
	}
	// kubectl and the servers up to 1.27 read the one of client-go.
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags, fmt.Sprintf(
			"-X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s -X %[1]s.gitCommit= -X %[1]s.gitTreeState=clean",
			pkg, v[1], v[2], v[3]))
	}
	return strings.Join(flags, " "), nil
}

// cacheKey hashes everything that the binaries of a module depend on.
func cacheKey(src, module, ldflags string) (string, error) {
	h := sha256.New()
	_, _ = fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH, ldflags, buildTags, sources(module))
	files, err := filepath.Glob(filepath.Join(src, "binaries", module, "go.*"))
	if err != nil {
		return "", fmt.Errorf("hash the sources: %w", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("hash the sources: %w", err)
		}
		_, _ = fmt.Fprintf(h, "%s %d\n%s", filepath.Base(file), len(content), content)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// lock takes an exclusive lock on the file, and says so if it has to wait. The
// kernel drops the lock when the process ends, however it ends.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644) //nolint:gosec // below the cache
	if err != nil {
		return nil, fmt.Errorf("lock the folder for binaries: %w", err)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for told := false; ; told = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if !told {
			fmt.Fprintln(os.Stderr, "controlplane: waiting for another process that builds the binaries")
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, ctx.Err()), f.Close())
		case <-tick.C:
		}
	}
}

func executable(path string) bool {
	info, err := os.Stat(path) //nolint:gosec // the user's choice of folder
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// tail returns what a file holds after offset, at most its last max bytes.
func tail(path string, offset, limit int64) string {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return ""
		}
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil {
		offset = max(offset, info.Size()-limit)
	}
	content, err := io.ReadAll(io.NewSectionReader(f, offset, limit))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(content))
}
