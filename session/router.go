package session

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/tenantid"
)

// routes are those of an instance, by method and path below the base path. A path may belong to several recipes, in their order.
type routes map[routeKey][]env.Route

type routeKey struct{ method, path string }

func compile(all []env.Route) routes {
	table := routes{}
	for _, route := range all {
		key := routeKey{route.Method, route.Path}
		table[key] = append(table[key], route)
	}
	return table
}

// find matches a path below the base path: exactly, or behind a tenant's segment. The header rid chooses where two recipes share a path.
func (t routes) find(method, path, rid string) (route env.Route, tenant string, ok bool) {
	wanted := recipesOf(rid)
	segment, rest := cutSegment(path)
	for _, candidates := range [][]string{wanted, nil} {
		if route, ok := pick(t[routeKey{method, path}], candidates); ok {
			return route, PublicTenant, true
		}
		if route, ok := pick(t[routeKey{method, rest}], candidates); ok && segment != "" {
			return route, strings.ToLower(segment), true
		}
	}
	return env.Route{}, "", false
}

// pick returns the first route of one of the recipes; nil: of any.
func pick(candidates []env.Route, recipes []string) (env.Route, bool) {
	for _, route := range candidates {
		if recipes == nil {
			return route, true
		}
		for _, id := range recipes {
			if route.RecipeID == id {
				return route, true
			}
		}
	}
	return env.Route{}, false
}

// recipesOf tells which recipes the header rid means. It never keeps a request from the route that its path names.
func recipesOf(rid string) []string {
	switch rid {
	case "", "anti-csrf":
		return nil
	case "thirdpartyemailpassword":
		return []string{"thirdparty", "emailpassword"}
	case "thirdpartypasswordless":
		return []string{"thirdparty", "passwordless"}
	}
	return []string{rid}
}

// cutSegment splits "/t1/signin" into t1 and "/signin".
func cutSegment(path string) (segment, rest string) {
	segment, rest, found := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !found || segment == "" {
		return "", ""
	}
	for _, c := range []byte(segment) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return "", ""
		}
	}
	return segment, "/" + rest
}

// pathOf is the path of the request as the client knows it, before any router stripped a prefix and with that of the gateway.
func (r *Recipe) pathOf(req *http.Request) string {
	path := req.URL.EscapedPath()
	if target, err := url.ParseRequestURI(req.RequestURI); err == nil {
		path = target.EscapedPath()
	}
	return r.app.GatewayPath + strings.TrimSuffix(path, "/")
}

// Middleware serves every route of the instance that this recipe belongs to, below AppInfo.APIBasePath, and passes the rest on. It protects nothing by
// itself: that is Verify and VerifySession.
func (r *Recipe) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		a, req := r.enter(w, req)
		if !r.serve(a, req) {
			next.ServeHTTP(a, req)
		}
	})
}

// Handler serves the same routes and nothing else, to be mounted; any other request gets a 404 {"message":"not found"}.
func (r *Recipe) Handler() http.Handler {
	return r.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusNotFound, message("not found"))
	}))
}

// serve answers the request if it is for one of the routes.
func (r *Recipe) serve(a *answer, req *http.Request) bool {
	below, ok := strings.CutPrefix(r.pathOf(req), r.app.BasePath)
	if !ok || !strings.HasPrefix(below, "/") {
		return false
	}
	route, tenant, ok := r.routes().find(req.Method, below, req.Header.Get("rid"))
	if !ok {
		return false
	}
	a.exchange.library = true
	req = r.remembering(req)
	a.exchange.request = req
	r.guarded(a, req, func() { r.answer(a, req, route, tenant) })
	return true
}

// answer runs the handler of a route and writes what it returned, unless it has answered by itself.
func (r *Recipe) answer(a *answer, req *http.Request, route env.Route, tenant string) {
	ctx := req.Context()
	if normal, ok := tenantid.Normalise(tenant); ok {
		tenant = normal // else nobody has it, and the API will say so if it matters
	}
	if r.env.TenantID != nil {
		var err error
		if tenant, err = r.env.TenantID(ctx, tenant); err != nil {
			r.HandleError(a, req, err)
			return
		}
	}
	result, err := route.Handle(ctx, env.Request{TenantID: tenant, Request: req, Response: a})
	switch {
	case a.sent():
		if err != nil {
			r.env.Logger.WarnContext(ctx, "an API answered by itself and then returned an error", "path", route.Path, "error", err)
		}
	case err != nil:
		r.HandleError(a, req, err)
	default:
		if err := writeResult(a, result); err != nil {
			r.HandleError(a, req, fmt.Errorf("the answer of %s %s: %w", route.Method, route.Path, err))
		}
	}
}

// guarded answers a panic of a handler, an override or a policy with a 500.
func (r *Recipe) guarded(a *answer, req *http.Request, f func()) (panicked bool) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p == http.ErrAbortHandler {
			panic(p)
		}
		panicked = true
		r.env.Logger.ErrorContext(req.Context(), "panic while a request was served",
			"method", req.Method, "path", req.URL.Path, "panic", p, "stack", string(debug.Stack()))
		r.writeInternalError(a, internalError)
	}()
	f()
	return false
}
