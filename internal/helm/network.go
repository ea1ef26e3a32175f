package helm

import (
	"cmp"
	"context"
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
// source is not there for what another one leads to. The caller ends them with CloseIdleConnections.
func client(scheme, host string) *http.Client {
	name, port := (&url.URL{Host: host}).Hostname(), (&url.URL{Host: host}).Port()
	port = cmp.Or(port, map[string]string{"http": "80"}[scheme], "443")
	s := &surrounding{
		secure:  scheme == "https",
		own:     map[string]bool{place(name, port): true, place(name, "443"): true}, // http leads to https
		through: http.ProxyFromEnvironment, proxies: map[string]bool{},
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = s.proxy
	transport.DialContext = s.dial
	transport.MaxResponseHeaderBytes = maxHeader
	return &http.Client{Transport: &checked{transport, s}, CheckRedirect: checkRedirect, Timeout: requestTimeout}
}

func place(host, port string) string { return net.JoinHostPort(strings.ToLower(host), port) }

func checkRedirect(request *http.Request, via []*http.Request) error {
	request.Header.Del("Referer") // the address before, which may hold a key
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	return nil
}

// checked holds requests to the scheme that the source has.
type checked struct {
	*http.Transport
	surrounding *surrounding
}

func (c *checked) RoundTrip(request *http.Request) (*http.Response, error) {
	if c.surrounding.secure && request.URL.Scheme != "https" {
		return nil, errors.New("an https source leads to an address without TLS")
	}
	return c.Transport.RoundTrip(request)
}

// proxy is that of the process's environment. Behind one it is the proxy that connects, so names are looked up here; what
// only the proxy can look up is for it to judge.
func (s *surrounding) proxy(request *http.Request) (*url.URL, error) {
	through, err := s.through(request)
	if through == nil || err != nil {
		return nil, err
	}
	port := map[string]string{"http": "80", "https": "443", "socks5": "1080"}
	s.mu.Lock()
	s.proxies[place(through.Hostname(), cmp.Or(through.Port(), port[through.Scheme]))] = true
	s.mu.Unlock()
	host := request.URL.Hostname()
	own := s.own[place(host, cmp.Or(request.URL.Port(), port[request.URL.Scheme]))]
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
