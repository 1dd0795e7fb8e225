package appinfo

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/net/publicsuffix"
)

var schemes = []string{"http://", "https://", "supertokens://"}

func scheme(domain string) string {
	s, _, _ := strings.Cut(domain, "://")
	return s
}

// Domain gives "scheme://host", with the port unless it is the scheme's own. Without a scheme, loopback names and IP addresses get http, all others
// https. Path, query and fragment are dropped.
func Domain(text string) (string, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	for _, s := range schemes {
		if strings.HasPrefix(text, s) {
			return fromURL(text)
		}
	}
	if strings.HasPrefix(text, "/") {
		return "", fmt.Errorf("%q is no domain", text)
	}
	rest := strings.TrimPrefix(text, ".")
	if !strings.Contains(rest, ".") && !strings.HasPrefix(rest, "localhost") && !strings.HasPrefix(rest, "[") {
		return "", fmt.Errorf("%q is no domain", text)
	}
	u, err := url.Parse("http://" + rest)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("%q is no domain", text)
	}
	if strings.HasPrefix(u.Hostname(), "localhost") || isIP(u.Hostname()) {
		return fromURL("http://" + rest)
	}
	return fromURL("https://" + rest)
}

func fromURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return "", fmt.Errorf("%q is no domain", text)
	}
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	switch port := u.Port(); {
	case port == "", u.Scheme == "http" && port == "80", u.Scheme == "https" && port == "443":
		return u.Scheme + "://" + host, nil
	default:
		return u.Scheme + "://" + net.JoinHostPort(u.Hostname(), port), nil
	}
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// host is what the first part of a path looks like when somebody gave a domain with it.
var host = regexp.MustCompile(`^[A-Za-z0-9.-]*\.[A-Za-z0-9.-]+(:[0-9]+)?$`)

// Path gives "/one/two": with a leading slash and none at the end, "" for the root. Somebody may have given a domain with it, which is dropped, as
// query and fragment are. Dot segments are resolved.
func Path(text string) (string, error) {
	text = strings.TrimSpace(text)
	path := text
	switch first, _, _ := strings.Cut(strings.NewReplacer("?", "/", "#", "/").Replace(text), "/"); {
	case strings.HasPrefix(text, "http://"), strings.HasPrefix(text, "https://"):
		_, path, _ = strings.Cut(text, "://")
		path = afterHost(path)
	case !strings.HasPrefix(text, "/") && host.MatchString(first), strings.HasPrefix(text, "localhost"):
		path = afterHost(text)
	case !strings.HasPrefix(text, "/"):
		path = "/" + text
	}
	u, err := url.Parse("http://host" + path)
	if err != nil {
		return "", fmt.Errorf("%q is no path", text)
	}
	return strings.TrimSuffix(u.ResolveReference(&url.URL{Path: u.Path, RawPath: u.RawPath}).EscapedPath(), "/"), nil
}

// afterHost drops what stands before the first slash, question mark or hash.
func afterHost(text string) string {
	if i := strings.IndexAny(text, "/?#"); i >= 0 {
		return text[i:]
	}
	return ""
}

// localSite is that of all loopback names and IP addresses.
const localSite = "localhost"

// Site of a normalised domain: the registrable domain by the Public Suffix List, its private part included.
func Site(domain string) (string, error) {
	u, err := url.Parse(domain)
	if err != nil {
		return "", fmt.Errorf("%q is no domain", domain)
	}
	name := strings.TrimSuffix(u.Hostname(), ".")
	if name == localSite || strings.HasSuffix(name, "."+localSite) || isIP(name) {
		return localSite, nil
	}
	site, err := publicsuffix.EffectiveTLDPlusOne(name)
	switch {
	case err == nil:
		return site, nil
	case strings.HasSuffix(name, ".amazonaws.com"), strings.HasSuffix(name, ".local"):
		return name, nil // hosts that browsers keep apart although each is a public suffix of its own
	}
	return "", fmt.Errorf("%q belongs to no site: %w", domain, err)
}

// CookieDomain keeps only the host name of what was configured as a Domain attribute; a leading dot stays, but for loopback names and addresses.
func CookieDomain(text string) (string, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	if _, rest, ok := strings.Cut(text, "://"); ok {
		text = rest
	}
	dot := ""
	if strings.HasPrefix(text, ".") {
		dot, text = ".", text[1:]
	}
	u, err := url.Parse("http://" + text)
	if err != nil || u.Hostname() == "" {
		return "", errors.New("it names no host")
	}
	name := u.Hostname()
	if name == localSite || isIP(name) {
		dot = ""
	}
	return dot + name, nil
}
