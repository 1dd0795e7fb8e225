package main

import (
	"embed"
	"encoding/json"
	"io/fs"
	"net/http"
	"strings"
)

// site holds the built front end in dist, where it was built, and a page that says how to build it.
//
//go:embed all:site
var site embed.FS

// isBuilt reports whether the front end is there.
func isBuilt(site fs.FS) bool {
	_, err := fs.Stat(site, "site/dist/index.html")
	return err == nil
}

// website serves the front end: its files, and its one page for every other path, since it routes in the browser.
func (a *app) website(site fs.FS) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /config.json", a.config)
	if !isBuilt(site) {
		mux.HandleFunc("GET /", missing(site))
		return mux
	}
	dist, err := fs.Sub(site, "site/dist")
	if err != nil {
		panic(err) // the path is valid
	}
	files := http.FileServerFS(dist)
	mux.HandleFunc("GET /assets/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // their names change with their content
		files.ServeHTTP(w, r)
	})
	mux.Handle("GET /icon.svg", files)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeFileFS(w, r, dist, "index.html")
	})
	return a.secured(mux)
}

func missing(site fs.FS) http.HandlerFunc {
	page, err := fs.ReadFile(site, "site/missing.html")
	if err != nil {
		panic(err) // it is compiled in
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		w.Write(page)
	}
}

// config tells the front end, which is built once for every configuration, where the API is and how tokens travel. Without apiDomain it is the origin
// of the page.
func (a *app) config(w http.ResponseWriter, _ *http.Request) {
	config := map[string]string{"tokenTransferMethod": "cookie"}
	if a.origins.API != a.origins.Website {
		config = map[string]string{"apiDomain": a.origins.API, "tokenTransferMethod": "header"}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(config)
}

// secured keeps the pages to their own scripts and the API, and out of frames. The pre-built pages bring their styles in the page.
func (a *app) secured(next http.Handler) http.Handler {
	policy := strings.Join([]string{
		"default-src 'self'", "connect-src 'self' " + a.origins.API, "style-src 'self' 'unsafe-inline'", "img-src 'self' data:",
		"frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'",
	}, "; ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}
