// Command fakecastai runs a stand-in of the Cast AI API, to try the plugin by
// hand. It listens on this machine only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/kubectl-castai/internal/castai"
	"github.com/castai/kubectl-castai/test/fakecastai"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	port := flag.Int("port", 0, "port of 127.0.0.1 to listen on; 0: any")
	key := flag.String("key", "fake-key", "API key that is accepted")
	delay := flag.Duration("delay", 2*time.Second, "how long each step of what goes on in the background takes")
	kubeconfig := flag.String("kubeconfig", "", "cluster whose Node objects are the service's nodes")
	id := flag.String("cluster-id", "2f1e4c1a-6b0d-4d55-9a6e-3f0c6d5b7a10", "id of the cluster")
	status := flag.String("status", "ready", "status of the cluster")
	flag.Parse()

	options := fakecastai.Options{Key: *key, Delay: *delay}
	var nodes []castai.Node
	if *kubeconfig != "" {
		config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
		if err != nil {
			return err
		}
		machines, err := fakecastai.NewKubernetes(config)
		if err != nil {
			return err
		}
		if nodes, err = machines.List(ctx); err != nil {
			return err
		}
		options.Nodes = machines
	}
	fake := fakecastai.New(options)
	sample := fakecastai.Sample(*id, "demo", nodes...)
	sample.Status = *status
	fake.AddCluster(sample)

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		return err
	}
	fmt.Printf("cluster %s, %d nodes\nexport CASTAI_API_KEY=%s\nkubectl castai offboard --console --api-url=http://%s --cluster-id=%s\n", *id, len(nodes), *key, listener.Addr(), *id)
	server := &http.Server{Handler: logged(fake), ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// logged shows each request.
func logged(fake *fakecastai.Server) http.Handler {
	next := fake.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(time.Now().Format(time.TimeOnly), r.Method, r.URL)
		next.ServeHTTP(w, r)
	})
}
