package testenv

import (
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"sync/atomic"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// A Counter stands before a cluster's API server and counts what passes. Whoever uses its kubeconfig is an administrator.
type Counter struct {
	KubeconfigFile string

	server   *httptest.Server
	all, dry atomic.Int64
}

// Count puts a counter before the API server. The caller closes it.
func (c *Cluster) Count() (*Counter, error) {
	target, err := url.Parse(c.Config.Host)
	if err != nil {
		return nil, fmt.Errorf("read the server's address: %w", err)
	}
	counter := &Counter{}
	transport, err := rest.TransportFor(c.Config)
	if err != nil {
		return nil, fmt.Errorf("make a transport: %w", err)
	}
	proxy := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			counter.all.Add(1)
			if r.In.URL.Query().Has("dryRun") {
				counter.dry.Add(1)
			}
		},
	}
	counter.server = httptest.NewServer(proxy)
	config := clientcmdapi.NewConfig()
	config.Clusters[c.Name] = &clientcmdapi.Cluster{Server: counter.server.URL}
	config.AuthInfos[c.Name] = &clientcmdapi.AuthInfo{}
	config.Contexts[c.Name] = &clientcmdapi.Context{Cluster: c.Name, AuthInfo: c.Name}
	config.CurrentContext = c.Name
	file, err := os.CreateTemp(c.dir, "counted-*.kubeconfig")
	if err != nil {
		counter.Close()
		return nil, fmt.Errorf("create a kubeconfig: %w", err)
	}
	counter.KubeconfigFile = file.Name()
	if err := file.Close(); err != nil {
		counter.Close()
		return nil, fmt.Errorf("create a kubeconfig: %w", err)
	}
	if err := clientcmd.WriteToFile(*config, counter.KubeconfigFile); err != nil {
		counter.Close()
		return nil, fmt.Errorf("write a kubeconfig: %w", err)
	}
	return counter, nil
}

// Requests are all that have passed, and those of them that were dry runs.
func (c *Counter) Requests() (all, dry int64) { return c.all.Load(), c.dry.Load() }

// Close ends it.
func (c *Counter) Close() { c.server.Close() }
