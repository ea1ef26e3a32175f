package helm

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ferry-chatops/ferry/internal/render"
)

const (
	requestTimeout = 15 * time.Second // one request with its answer
	dialTimeout    = 5 * time.Second
	maxHeader      = 64 << 10 // bytes of an answer's headers
	maxRedirects   = 5
)

// A surrounding is where one source may lead ferry. The address of a chart's source is an application owner's, and what
// answers there may name others: by redirects, as its realm for tokens, as the next page. Its own host may be anywhere but
// on the local link, where clouds give out credentials; all others have to be on the public Internet, so that nobody
// reaches through ferry what they cannot reach themselves.
type surrounding struct {
	secure  bool            // https, and nothing else
	own     map[string]bool // "host:port" of the source
	through func(*http.Request) (*url.URL, error)

	mu      sync.Mutex
	proxies map[string]bool // "host:port", once used
}

// client makes one for a single source, given by scheme and host. Its connections are its own: one that was made for a
// source is not there for what another one leads to. The caller ends them with CloseIdleConnections. A credential goes to
// exactly that scheme, host and port; nil: none.
func client(scheme, host string, credential *render.Credential) (*http.Client, error) {
	name, port := (&url.URL{Host: host}).Hostname(), (&url.URL{Host: host}).Port()
	port = cmp.Or(port, ports[scheme], "443")
	s := &surrounding{
		secure:  scheme == "https",
		own:     map[string]bool{place(name, port): true, place(name, "443"): true}, // http leads to https
		through: http.ProxyFromEnvironment, proxies: map[string]bool{},
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = s.proxy
	transport.DialContext = s.dial
	transport.MaxResponseHeaderBytes = maxHeader
	c := &checked{others: transport, own: transport, surrounding: s, scheme: scheme, place: place(name, port), credential: credential}
	if credential != nil && len(credential.CA)+len(credential.Cert) > 0 {
		c.own = transport.Clone()
		c.own.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		if err := authenticate(c.own.TLSClientConfig, credential); err != nil {
			return nil, err
		}
	}
	return &http.Client{Transport: c, CheckRedirect: checkRedirect, Timeout: requestTimeout}, nil
}

// authenticate adds a credential's certificates.
func authenticate(with *tls.Config, credential *render.Credential) error {
	if len(credential.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			return fmt.Errorf("read the system's certificates: %w", err)
		}
		if !pool.AppendCertsFromPEM(credential.CA) {
			return errors.New("the source's CA certificate cannot be read")
		}
		with.RootCAs = pool
	}
	if len(credential.Cert) > 0 {
		pair, err := tls.X509KeyPair(credential.Cert, credential.Key)
		if err != nil {
			return errors.New("the source's client certificate and key cannot be read") // the error may quote them
		}
		with.Certificates = []tls.Certificate{pair}
	}
	return nil
}

func place(host, port string) string { return net.JoinHostPort(strings.ToLower(host), port) }

func checkRedirect(request *http.Request, via []*http.Request) error {
	request.Header.Del("Referer") // the address before, which may hold a key
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	return nil
}

// checked holds requests to the scheme that the source has, and credentials to its address.
type checked struct {
	own, others *http.Transport
	surrounding *surrounding
	scheme      string
	place       string // "host:port"
	credential  *render.Credential
}

func (c *checked) RoundTrip(request *http.Request) (*http.Response, error) {
	if c.surrounding.secure && request.URL.Scheme != "https" {
		return nil, errors.New("an https source leads to an address without TLS")
	}
	own := request.URL.Scheme == c.scheme && place(request.URL.Hostname(), cmp.Or(request.URL.Port(), ports[request.URL.Scheme])) == c.place
	given := request.Header.Get("Authorization") // by a registry's client
	switch {
	case !own && (given != "" || request.URL.User != nil):
		request = request.Clone(request.Context())
		request.Header.Del("Authorization")
		request.URL.User = nil
	case own && given == "" && c.credential != nil && c.credential.Username+c.credential.Password != "":
		request = request.Clone(request.Context())
		request.SetBasicAuth(c.credential.Username, c.credential.Password)
	}
	if own {
		return c.own.RoundTrip(request)
	}
	return c.others.RoundTrip(request)
}

// CloseIdleConnections is what http.Client calls.
func (c *checked) CloseIdleConnections() {
	c.own.CloseIdleConnections()
	c.others.CloseIdleConnections()
}

var ports = map[string]string{"http": "80", "https": "443", "socks5": "1080"}

// proxy is that of the process's environment. Behind one it is the proxy that connects, so names are looked up here; what
// only the proxy can look up is for it to judge.
func (s *surrounding) proxy(request *http.Request) (*url.URL, error) {
	through, err := s.through(request)
	if through == nil || err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.proxies[place(through.Hostname(), cmp.Or(through.Port(), ports[through.Scheme]))] = true
	s.mu.Unlock()
	host := request.URL.Hostname()
	own := s.own[place(host, cmp.Or(request.URL.Port(), ports[request.URL.Scheme]))]
	addresses, err := net.DefaultResolver.LookupNetIP(request.Context(), "ip", host)
	if err != nil {
		return through, nil //nolint:nilerr // the proxy may know the name
	}
	for _, a := range addresses {
		if err := check(a, own); err != nil {
			return nil, err
		}
	}
	return through, nil
}

// dial connects, and checks the address that a name stands for at the last moment.
func (s *surrounding) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	proxy := s.proxies[strings.ToLower(address)]
	s.mu.Unlock()
	dialer := &net.Dialer{Timeout: dialTimeout}
	if !proxy {
		dialer.Control = func(_, resolved string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return fmt.Errorf("read address: %w", err)
			}
			return check(at.Addr(), s.own[strings.ToLower(address)])
		}
	}
	return dialer.DialContext(ctx, network, address)
}

var errInside = errors.New("the source leads to an address that is not public")

// check refuses addresses that are not public; of the source's own host those alone that no host has for itself.
func check(a netip.Addr, own bool) error {
	a = a.Unmap()
	if a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
		return errInside
	}
	if own {
		return nil
	}
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return errInside
	}
	for _, p := range special {
		if p.Contains(a) {
			return errInside
		}
	}
	return nil
}

// special are the ranges of IANA's registries of special-purpose addresses that net/netip has no word for, and that lead
// to networks inside or, translated, to IPv4 addresses.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // shared: of pods in some clouds, and of their metadata in one
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001::/23"), // Teredo among them
	netip.MustParsePrefix("2002::/16"), // 6to4
	netip.MustParsePrefix("fec0::/10"),
}
