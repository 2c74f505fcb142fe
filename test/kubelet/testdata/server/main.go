// Command server is what the tests of the kubelet run in pods: it tells over HTTP what it sees.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	fmt.Println("arguments:", strings.Join(os.Args[1:], " "))
	for _, arg := range os.Args[1:] {
		switch arg {
		case "fail":
			os.Exit(3)
		case "end":
			return
		case "deaf":
			signal.Ignore(syscall.SIGTERM)
		}
	}
	root := os.Getenv("KUBELET_POD_ROOT")
	http.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/see", func(w http.ResponseWriter, _ *http.Request) {
		hostname, _ := os.Hostname()
		seen := map[string]string{"hostname": hostname, "NAME": os.Getenv("NAME"), "LEVEL": os.Getenv("LEVEL"),
			"IP": os.Getenv("IP")}
		for name, path := range map[string]string{
			"setting": "/etc/settings/level", "token": "/var/run/secrets/kubernetes.io/serviceaccount/token",
			"namespace": "/var/run/secrets/kubernetes.io/serviceaccount/namespace",
		} {
			content, err := os.ReadFile(filepath.Join(root, path))
			seen[name] = string(content)
			if err != nil {
				seen[name] = err.Error()
			}
		}
		if host := os.Getenv("KUBERNETES_SERVICE_HOST"); host != "" {
			conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, os.Getenv("KUBERNETES_SERVICE_PORT")), time.Second)
			seen["server"] = fmt.Sprint(err)
			if err == nil {
				_ = conn.Close()
			}
		}
		_ = json.NewEncoder(w).Encode(seen)
	})
	if err := http.ListenAndServe(os.Getenv("KUBELET_POD_ADDRESS")+":8080", nil); err != nil { //nolint:gosec // a test
		fmt.Println(err)
		os.Exit(1)
	}
}
