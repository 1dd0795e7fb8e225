// Package session keeps people signed in: sessions, their tokens, the claims in them, and the HTTP layer that every recipe of this module shares.
//
// With MFA, mfa.New makes the recipe and MFA.Sessions returns it. A host that checks who it is by itself can use this package alone:
//
//	sessions, err := session.New(ctx, session.App{
//		AppInfo: session.AppInfo{AppName: "Acme", APIDomain: "https://api.acme.example", WebsiteDomain: "https://acme.example"},
//		Storage: db, // sqlite.Open or postgres.Open
//	}, session.Config{})
//
//	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
//		... // check who it is
//		_, err := sessions.CreateNewSession(w, r, session.NewSession{RecipeUserID: "user-1", RevokeReplaced: true})
//	})
//	mux.Handle("GET /me", sessions.Verify(me)) // me finds its session with FromContext
//	http.ListenAndServe(addr, sessions.Middleware(mux))
//
// A session has an access token, a signed JWT that is verified without the database, and a refresh token that renews it and is good for one use. They
// travel in cookies or in headers, as the front end asks; SuperTokens' front ends send and keep them without further code. [Recipe.Middleware] serves
// the routes that these call: POST /auth/session/refresh, POST /auth/signout, and the public keys. It protects nothing: that is [Recipe.Verify] and
// [Recipe.VerifySession].
//
// A session that was revoked passes until its access token expires, after an hour by default, except where [VerifyOptions.CheckDatabase] is set.
//
// A refresh token that comes again after its grace, or an older one, means that somebody has a copy: the session ends, for thief and owner alike.
//
// The payload of the access token is for the application, too: [Session.MergeIntoAccessTokenPayload] changes it, and a [Claim] is a value in it with a
// way to fetch it anew, on which routes can insist by its validators. Everybody who has the token can read it, and it must fit into a cookie.
//
// All that the recipe does and serves are fields of [Functions] and [APIs], which Config.Override changes.
package session
