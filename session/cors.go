package session

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/stepup-auth/stepup/internal/token"
)

// CORS answers preflights and adds the Access-Control headers, for the routes behind next too, with credentials, the methods GET, POST,
// PUT, DELETE and the headers of GetAllCORSHeaders and content-type. An origin is allowed if AppInfo names it for this very request:
// Origin(r), or WebsiteDomain without it. All other requests pass as they are. A host that needs more (PATCH, headers of its own) uses a CORS handler of
// its own instead.
func (r *Recipe) CORS(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		origin := req.Header.Get("Origin")
		if origin == "" {
			next.ServeHTTP(w, req)
			return
		}
		allowed, err := r.app.Origin(req)
		if err != nil {
			r.HandleError(w, req, err)
			return
		}
		if origin != allowed {
			next.ServeHTTP(w, req)
			return
		}
		h.Set("Access-Control-Allow-Origin", allowed)
		h.Set("Access-Control-Allow-Credentials", "true")
		if req.Method != http.MethodOptions || req.Header.Get("Access-Control-Request-Method") == "" {
			next.ServeHTTP(w, req)
			return
		}
		h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
		h.Set("Access-Control-Allow-Headers", strings.Join(append(GetAllCORSHeaders(), "content-type"), ", "))
		w.WriteHeader(http.StatusNoContent)
	})
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// algorithmsOf lists each algorithm once, sorted.
func algorithmsOf(published []*token.Key) []string {
	algorithms := []string{}
	for _, key := range published {
		if !slices.Contains(algorithms, key.Algorithm) {
			algorithms = append(algorithms, key.Algorithm)
		}
	}
	slices.Sort(algorithms)
	return algorithms
}
