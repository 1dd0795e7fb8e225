package main

import (
	"embed"
	"image/png"
	"io"
	"io/fs"
	"net/http"

	"github.com/pquerna/otp"

	"github.com/stepup-auth/stepup/mfa"
	"github.com/stepup-auth/stepup/session"
	"github.com/stepup-auth/stepup/userroles"
)

//go:embed page
var files embed.FS

// page serves the web page and the two routes that it has of its own.
func page(mux *http.ServeMux, auth *mfa.MFA) {
	static, err := fs.Sub(files, "page")
	if err != nil {
		panic(err) // the directory is compiled in
	}
	mux.Handle("GET /", secured(http.FileServerFS(static)))
	mux.Handle("POST /become-admin", auth.Sessions().Verify(becomeAdmin(auth)))
	// A route for one role: the claim is fetched when it is missing, and once more when it says no, since the role may have been given just now.
	mux.Handle("GET /admin", auth.Sessions().Verify(http.HandlerFunc(adminPage),
		userroles.UserRoleClaim.Includes("admin", session.RefetchFailedAfter(0))))
	mux.Handle("POST /qr", auth.Sessions().VerifySession(session.VerifyOptions{
		Skip: []session.Claim{mfa.Claim}, // a device is set up before the second factor is done
	})(http.HandlerFunc(drawQR)))
}

// secured keeps the page to its own scripts and out of frames.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

func adminPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "for administrators only\n")
}

// becomeAdmin gives the visitor the role admin. In a real application an administrator does this to somebody else.
func becomeAdmin(auth *mfa.MFA) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, s := r.Context(), session.FromContext(r.Context())
		_, err := auth.UserRoles().CreateNewRoleOrAddPermissions(ctx, "admin")
		if err == nil {
			_, err = auth.UserRoles().AddRoleToUser(ctx, s.TenantID(), s.UserID(), "admin")
		}
		if err == nil {
			err = auth.ReevaluateSessionsOfUser(ctx, s.UserID()) // binds the user's sessions that are open already
		}
		if err != nil {
			auth.HandleError(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// drawQR draws the otpauth string of its body. The string holds the secret, so it comes in a body and not in a URL, and the picture is not kept.
func drawQR(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4096))
	if err != nil {
		http.Error(w, "too long", http.StatusRequestEntityTooLarge)
		return
	}
	key, err := otp.NewKeyFromURL(string(text))
	if err != nil {
		http.Error(w, "not an otpauth string", http.StatusBadRequest)
		return
	}
	picture, err := key.Image(264, 264)
	if err != nil {
		http.Error(w, "too long for a QR code", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Cache-Control", "no-store")
	png.Encode(w, picture)
}
