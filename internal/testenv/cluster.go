package testenv

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Cluster is one API server with its controllers.
type Cluster struct {
	Name           string
	Config         *rest.Config // as an administrator
	KubeconfigFile string       // the same, with a static token; its one context has the cluster's name

	env    *Env
	dir    string
	client client.Client
	api    *process
}

//go:embed bad-image.yaml
var badImage []byte

// Client reads and writes as an administrator. It knows the types of Kubernetes and of Flux.
func (c *Cluster) Client() client.Client { return c.client }

// Apply writes every object of a multi-document manifest, in its order, by server-side apply.
func (c *Cluster) Apply(ctx context.Context, manifest []byte) error {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	for {
		u := &unstructured.Unstructured{}
		if err := decoder.Decode(u); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the manifest: %w", err)
		}
		if len(u.Object) == 0 {
			continue
		}
		err := c.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("testenv"), client.ForceOwnership)
		if err != nil {
			return fmt.Errorf("apply %s %s in %s: %w", u.GetKind(), client.ObjectKeyFromObject(u), c.Name, err)
		}
	}
}

// Pause freezes the API server: connections are accepted, requests hang.
func (c *Cluster) Pause() error { return c.api.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a paused API server go on.
func (c *Cluster) Resume() error { return c.api.cmd.Process.Signal(syscall.SIGCONT) }

// Kill ends the API server: connections are refused.
func (c *Cluster) Kill() { c.api.end() }

// Restart starts a killed API server again, at the same address, and waits until it is ready. As long as an outgoing
// connection has its port, it tries again.
func (c *Cluster) Restart(ctx context.Context) error {
	return poll(ctx, "restart the API server of "+c.Name, func(ctx context.Context) error {
		api, err := c.env.startOn(ctx, c.api.program, c.api.taken)
		switch {
		case errors.Is(err, errPortTaken):
			return err
		case err != nil:
			return final{err}
		}
		c.api = api
		return nil
	})
}

// startCluster starts one cluster. The order: etcd, the API server, then everything that talks to it at once.
func (e *Env) startCluster(ctx context.Context, name string) (*Cluster, error) {
	c := &Cluster{Name: name, env: e, dir: filepath.Join(e.Dir, name)}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the cluster's directory: %w", err)
	}
	ca, users, err := credentials(c.dir)
	if err != nil {
		return nil, err
	}
	member := rand.Text()
	etcd, err := e.start(ctx, program{
		name: name + "/etcd", path: e.tools.Path("etcd"), ports: 2, ready: hasMember(member),
		args: func(ports []int) []string {
			own, peer := fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("http://127.0.0.1:%d", ports[1])
			return []string{
				"--name=" + member, "--data-dir=etcd", "--unsafe-no-fsync", "--log-level=error", "--listen-client-urls=" + own, "--advertise-client-urls=" + own,
				"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=" + member + "=" + peer,
			}
		},
	})
	if err != nil {
		return nil, err
	}
	if err := c.startAPI(ctx, etcd.taken[0], ca); err != nil {
		return nil, err
	}
	if err := c.connect(ca, users); err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.startControlPlane(ctx) })
	if e.flux {
		g.Go(func() error { return c.startFlux(ctx) })
	}
	return c, g.Wait()
}

func (c *Cluster) startAPI(ctx context.Context, etcd int, ca []byte) (err error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	c.api, err = c.env.start(ctx, program{
		name: c.Name + "/kube-apiserver", path: c.env.tools.Path("kube-apiserver"), ports: 1,
		ready: func(ctx context.Context, p *process) error {
			_, err := answer(ctx, &http.Client{Transport: transport}, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/readyz", p.taken[0]))
			return err
		},
		args: func(ports []int) []string {
			return []string{
				fmt.Sprintf("--etcd-servers=http://127.0.0.1:%d", etcd), "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", ports[0]),
				"--tls-cert-file=tls.crt", "--tls-private-key-file=tls.key", "--token-auth-file=tokens.csv", "--authorization-mode=RBAC",
				"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=sa.key", "--service-account-signing-key-file=sa.key",
				"--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none",
				// never used, but without it the API server looks for a default route, which a machine off the net lacks
				"--advertise-address=192.0.2.1", "--allow-privileged=true",
			}
		},
	})
	return err
}

// connect writes the kubeconfigs and makes the client.
func (c *Cluster) connect(ca []byte, u users) error {
	server := fmt.Sprintf("https://127.0.0.1:%d", c.api.taken[0])
	c.KubeconfigFile = filepath.Join(c.dir, "kubeconfig")
	for file, token := range map[string]string{c.KubeconfigFile: u.admin, c.file("controller-manager.kubeconfig"): u.controllerManager, c.file("scheduler.kubeconfig"): u.scheduler} {
		config := clientcmdapi.NewConfig()
		config.Clusters[c.Name] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}
		config.AuthInfos[c.Name] = &clientcmdapi.AuthInfo{Token: token}
		config.Contexts[c.Name] = &clientcmdapi.Context{Cluster: c.Name, AuthInfo: c.Name}
		config.CurrentContext = c.Name
		if err := clientcmd.WriteToFile(*config, file); err != nil {
			return fmt.Errorf("write a kubeconfig: %w", err)
		}
	}
	c.Config = &rest.Config{
		Host: server, BearerToken: u.admin, TLSClientConfig: rest.TLSClientConfig{CAData: ca},
		QPS: 500, Burst: 1000, // a test's own pace
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, sourcev1.AddToScheme, kustomizev1.AddToScheme, helmv2.AddToScheme} {
		if err := add(scheme); err != nil {
			return fmt.Errorf("register types: %w", err)
		}
	}
	var err error
	if c.client, err = client.New(c.Config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	return nil
}

func (c *Cluster) file(name string) string { return filepath.Join(c.dir, name) }

// startControlPlane starts controller-manager, scheduler and kwok, and waits for a node that takes pods.
func (c *Cluster) startControlPlane(ctx context.Context) error {
	// one token for all controllers, so it needs what a cluster grants to a service account per controller
	grant := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "testenv-controller-manager"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "system:kube-controller-manager"}},
	}
	room := corev1.ResourceList{"cpu": resource.MustParse("256"), "memory": resource.MustParse("1Ti"), "pods": resource.MustParse("2000")}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "kwok-0",
			Labels:      map[string]string{"type": "kwok", corev1.LabelOSStable: "linux", corev1.LabelHostname: "kwok-0"},
			Annotations: map[string]string{"kwok.x-k8s.io/node": "fake"},
		},
		Status: corev1.NodeStatus{Allocatable: room, Capacity: room},
	}
	for _, o := range []client.Object{grant, node} {
		if err := c.client.Create(ctx, o); err != nil {
			return fmt.Errorf("create %s: %w", o.GetName(), err)
		}
	}
	stages, err := filepath.Glob(filepath.Join(c.env.tools.Path("kwok-stages"), "*.yaml"))
	if err != nil {
		return fmt.Errorf("list kwok's stages: %w", err)
	}
	if err := os.WriteFile(c.file("bad-image.yaml"), badImage, 0o600); err != nil {
		return fmt.Errorf("write kwok's stages: %w", err)
	}
	kwok := []string{
		"--kubeconfig=kubeconfig", "--manage-all-nodes=true", "--node-ip=10.0.0.1", "--cidr=10.244.0.0/16",
		// without leases the node turns NotReady after 40 to 50 s and takes its pods along
		"--node-lease-duration-seconds=40",
	}
	for _, stage := range append(stages, "bad-image.yaml") {
		kwok = append(kwok, "--config="+stage)
	}
	var started []*process
	for name, args := range map[string][]string{
		"kube-controller-manager": {
			"--kubeconfig=controller-manager.kubeconfig", "--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=0",
			"--service-account-private-key-file=sa.key", "--root-ca-file=tls.crt", "--use-service-account-credentials=false", "--allocate-node-cidrs=false",
			"--kube-api-qps=200", "--kube-api-burst=400",
		},
		"kube-scheduler": {"--kubeconfig=scheduler.kubeconfig", "--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=0"},
		"kwok":           kwok,
	} {
		p := program{name: c.Name + "/" + name, path: c.env.tools.Path(name), args: func([]int) []string { return args }}
		proc, err := c.env.start(ctx, p)
		if err != nil {
			return err
		}
		started = append(started, proc)
	}
	return poll(ctx, "wait for the node and the default service account", func(ctx context.Context) error {
		for _, proc := range started {
			if proc.hasEnded() {
				return final{proc.failure()}
			}
		}
		if err := c.client.Get(ctx, client.ObjectKey{Namespace: "default", Name: "default"}, &corev1.ServiceAccount{}); err != nil {
			return err
		}
		if err := c.client.Get(ctx, client.ObjectKeyFromObject(node), node); err != nil {
			return err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue && len(node.Spec.Taints) == 0 {
				return nil
			}
		}
		return errNotYet
	})
}

// startFlux installs the custom resources and starts the controllers of Flux.
func (c *Cluster) startFlux(ctx context.Context) error {
	if err := c.applyCRDs(ctx, "flux-crds"); err != nil {
		return err
	}
	if err := c.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "flux-system"}}); err != nil {
		return fmt.Errorf("create namespace flux-system: %w", err)
	}
	if err := os.Mkdir(c.file("artifacts"), 0o700); err != nil {
		return fmt.Errorf("create the artifacts' directory: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range []program{c.sourceController(), c.fluxController("kustomize-controller"), c.fluxController("helm-controller")} {
		g.Go(func() error {
			_, err := c.env.start(ctx, p)
			return err
		})
	}
	return g.Wait()
}

// fluxController is a controller of Flux with the flags that all have. It is ready when it works, which only its log
// says: /readyz answers before that. Objects that depend on others are looked at again after 2 s instead of 30.
func (c *Cluster) fluxController(name string) program {
	return program{
		name: c.Name + "/" + name, path: c.env.tools.Path(name), env: []string{"KUBECONFIG=kubeconfig", "RUNTIME_NAMESPACE=flux-system"},
		args: func([]int) []string {
			return []string{"--health-addr=127.0.0.1:0", "--metrics-addr=0", "--events-addr=", "--watch-all-namespaces=true", "--requeue-dependency=2s"}
		},
		ready: func(_ context.Context, p *process) error {
			log, err := os.ReadFile(p.log)
			if err != nil {
				return final{err}
			}
			if !bytes.Contains(log, []byte(`"Starting workers"`)) {
				return errNotYet
			}
			return nil
		},
	}
}

// sourceController is ready when it serves the others its artifacts too.
func (c *Cluster) sourceController() program {
	p := c.fluxController("source-controller")
	common, works, marker := p.args, p.ready, rand.Text()
	p.ports = 1
	p.args = func(ports []int) []string {
		storage := fmt.Sprintf("127.0.0.1:%d", ports[0])
		return append(common(ports), "--storage-path=artifacts", "--storage-addr="+storage, "--storage-adv-addr="+storage)
	}
	p.ready = func(ctx context.Context, proc *process) error {
		if err := works(ctx, proc); err != nil {
			return err
		}
		// our own file, because whoever took the port meanwhile may answer as well
		path := filepath.Join("artifacts", marker)
		if err := os.WriteFile(c.file(path), nil, 0o600); err != nil {
			return final{err}
		}
		_, err := answer(ctx, http.DefaultClient, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/%s", proc.taken[0], marker))
		return err
	}
	return p
}

// InstallImageAutomation installs the custom resources of Flux's image automation, without its controllers: what they
// would write into an object's status is the caller's to write.
func (c *Cluster) InstallImageAutomation(ctx context.Context) error {
	return c.applyCRDs(ctx, "flux-image-crds")
}

// applyCRDs applies the custom resources in a tool's folder.
func (c *Cluster) applyCRDs(ctx context.Context, tool string) error {
	files, err := filepath.Glob(filepath.Join(c.env.tools.Path(tool), "*.yaml"))
	if err != nil {
		return fmt.Errorf("list Flux's custom resources: %w", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read a custom resource of Flux: %w", err)
		}
		if err := c.Apply(ctx, content); err != nil {
			return err
		}
	}
	return poll(ctx, "wait for Flux's custom resources", func(ctx context.Context) error {
		crds := &unstructured.UnstructuredList{}
		crds.SetAPIVersion("apiextensions.k8s.io/v1")
		crds.SetKind("CustomResourceDefinitionList")
		if err := c.client.List(ctx, crds); err != nil {
			return err
		}
		for _, crd := range crds.Items {
			if !established(crd) {
				return fmt.Errorf("%s: %w", crd.GetName(), errNotYet)
			}
		}
		return nil
	})
}

func established(crd unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Established" && c["status"] == "True" {
			return true
		}
	}
	return false
}

// hasMember is ready when the etcd that answers is the one of that name, not another that took the port meanwhile.
func hasMember(name string) func(context.Context, *process) error {
	return func(ctx context.Context, p *process) error {
		members, err := answer(ctx, http.DefaultClient, http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/v3/cluster/member/list", p.taken[0]))
		if err == nil && !bytes.Contains(members, []byte(name)) {
			return errNotYet // ours will say that the port is taken
		}
		return err
	}
}

// answer is the body of a 200; anything else is an error.
func answer(ctx context.Context, c *http.Client, method, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, final{err}
	}
	response, err := c.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	return io.ReadAll(response.Body)
}
