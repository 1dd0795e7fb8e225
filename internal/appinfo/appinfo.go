// Package appinfo brings domains and paths of a configuration into one form, and tells which site a domain belongs to.
package appinfo

import (
	"errors"
	"fmt"
	"net/http"
)

// Input is what a host configures.
type Input struct {
	AppName, APIDomain, WebsiteDomain            string
	Origin                                       func(r *http.Request) string // wins over WebsiteDomain
	APIBasePath, WebsiteBasePath, APIGatewayPath string
}

// Info is the normalised form.
type Info struct {
	AppName         string
	APIDomain       string // "https://api.example.com"
	GatewayPath     string // "" or "/gateway"
	BasePath        string // of everything public, the gateway's path included: "/gateway/auth"
	WebsiteBasePath string

	apiSite string
	website origin // where it is constant
	origin  func(r *http.Request) string
}

// origin is a website with its site.
type origin struct{ domain, site string }

const defaultBasePath = "/auth"

// New reports every mistake, each naming its field.
func New(in Input) (*Info, []error) {
	var errs []error
	fail := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("AppInfo.%s: %w", field, err))
		}
	}
	info := &Info{AppName: in.AppName, origin: in.Origin}
	if in.AppName == "" {
		fail("AppName", errors.New("it is required"))
	}
	var err error
	if in.APIDomain == "" {
		fail("APIDomain", errors.New("it is required"))
	} else if info.APIDomain, err = Domain(in.APIDomain); err != nil {
		fail("APIDomain", err)
	} else {
		info.apiSite, err = Site(info.APIDomain)
		fail("APIDomain", err)
	}
	switch {
	case in.Origin != nil:
	case in.WebsiteDomain == "":
		fail("WebsiteDomain", errors.New("it is required, unless Origin is set"))
	default:
		info.website, err = newOrigin(in.WebsiteDomain)
		fail("WebsiteDomain", err)
	}
	info.GatewayPath, err = Path(in.APIGatewayPath)
	fail("APIGatewayPath", err)
	base, err := Path(orDefault(in.APIBasePath))
	fail("APIBasePath", err)
	info.BasePath = info.GatewayPath + base
	info.WebsiteBasePath, err = Path(orDefault(in.WebsiteBasePath))
	fail("WebsiteBasePath", err)
	return info, errs
}

func orDefault(path string) string {
	if path == "" {
		return defaultBasePath
	}
	return path
}

func newOrigin(domain string) (origin, error) {
	domain, err := Domain(domain)
	if err != nil {
		return origin{}, err
	}
	site, err := Site(domain)
	return origin{domain, site}, err
}

// of is the website of a request; r is nil outside of one.
func (i *Info) of(r *http.Request) (origin, error) {
	if i.origin == nil {
		return i.website, nil
	}
	o, err := newOrigin(i.origin(r))
	if err != nil {
		return origin{}, fmt.Errorf("AppInfo.Origin: %w", err)
	}
	return o, nil
}

// Origin is the website's, for this request.
func (i *Info) Origin(r *http.Request) (string, error) {
	o, err := i.of(r)
	return o.domain, err
}

// HasConstantOrigin reports whether the website is the same for every request.
func (i *Info) HasConstantOrigin() bool { return i.origin == nil }

// Relation is how API and website lie to each other, which decides what cookies need.
type Relation struct {
	SameSite bool // one site and one scheme
	Local    bool // both are loopback names or addresses
}

// Relation of the API to the website of this request.
func (i *Info) Relation(r *http.Request) (Relation, error) {
	o, err := i.of(r)
	if err != nil {
		return Relation{}, err
	}
	return Relation{
		SameSite: o.site == i.apiSite && scheme(o.domain) == scheme(i.APIDomain),
		Local:    o.site == localSite && i.apiSite == localSite,
	}, nil
}
