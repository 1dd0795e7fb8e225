// Package env is what the recipes of one instance share and no user needs to see: clock, random source, logger, database, routes, and the few
// functions that a lower recipe needs of a higher one.
package env

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/stepup-auth/stepup/internal/store"
)

// Key marks methods of exported types that only this module can call: nobody outside can name it.
type Key struct{}

// Env is made by mfa.New or session.New and filled while the recipes attach; afterwards it does not change.
type Env struct {
	Store  *store.Backend
	Logger *slog.Logger
	Clock  func() time.Time
	Random io.Reader

	// Instance is the *mfa.MFA that mfa.FromContext returns; nil where sessions stand alone.
	Instance any

	// Routes are served in this order.
	Routes []Route
	// FetchClaim gives the values of the claims that are package variables, by their key.
	FetchClaim map[string]FetchFunc
	// Sweeps remove expired rows, each in batches.
	Sweeps []func(ctx context.Context) error

	// UserOf tells which person a login method belongs to. nil: every id is a person of its own.
	UserOf func(ctx context.Context, recipeUserID string) (User, error)
	// TenantID is the overridable function that gives the tenant of a request; its argument is the normalised segment of the path, or public.
	// nil: the same.
	TenantID func(ctx context.Context, fromPath string) (string, error)
	// OnRefresh evaluates anew what a refresh must not carry on unseen, and returns the keys of the payload that change. nil: nothing.
	OnRefresh func(ctx context.Context, in Refresh) (update map[string]any, err error)
	// OnEvent is told what happened, after it was committed. Use Emit.
	OnEvent func(ctx context.Context, e Event)
}

// Route is one HTTP API below the base path, with or without a tenant segment.
type Route struct {
	RecipeID string // for the header rid, where two recipes share a path
	Method   string
	Path     string // from the base path on, "/signin"
	// Handle answers with a value that is written as a JSON object with "status":"OK" before its members (nil: only that), with a Plain, or with an
	// error that the one encoder of errors writes. Whatever Handle wrote to in.Response wins.
	Handle func(ctx context.Context, in Request) (any, error)
}

// Request is one request of a route.
type Request struct {
	TenantID string // of the path, after TenantID
	Request  *http.Request
	Response http.ResponseWriter
}

// Plain is an answer without a status.
type Plain struct {
	Header http.Header
	Body   any
}

// FetchFunc is the fetch of a claim; ok false leaves the claim out.
type FetchFunc func(ctx context.Context, in FetchInput) (value any, ok bool, err error)

// FetchInput says whose value is wanted. Payload is that of the whole token, sessionHandle included, and must not be changed.
type FetchInput struct {
	UserID, RecipeUserID, TenantID string
	Payload                        map[string]any
}

// User is a person as a session needs it.
type User struct {
	ID        string // the group's; the id asked for when nobody has it
	Known     bool   // some login method, or a group, has the id
	Tombstone bool   // the id of a group whose own login method was deleted: no login method
}

// Refresh is a session about to be refreshed. Payload is the stored one; it must not be changed.
type Refresh struct {
	SessionHandle, UserID, RecipeUserID, TenantID string
	TimeCreated                                   time.Time
	Payload                                       map[string]any
}

type contextKey struct{}

// Bind puts the instance into ctx, at the door of every method and request.
func (e *Env) Bind(ctx context.Context) context.Context {
	if FromContext(ctx) == e {
		return ctx
	}
	return context.WithValue(ctx, contextKey{}, e)
}

// FromContext returns the instance that runs the current call, or nil.
func FromContext(ctx context.Context) *Env {
	e, _ := ctx.Value(contextKey{}).(*Env)
	return e
}

// Now reads the clock, in the milliseconds that storage and tokens keep. An operation reads it once.
func (e *Env) Now() time.Time { return e.Clock().UTC().Truncate(time.Millisecond) }

// SignIn is what the session of a sign-in flow must hold on to. When it no longer does, its creation is ErrUserChanged, and the flow starts over.
type SignIn struct {
	// UserID is the person that the requirements were asked about. The session is made for nobody else, whatever its login method has become part of.
	UserID string
	// CredentialVersion is the version of the login method that was read with the password's hash, so that no session of an old password outlives the
	// new one; 0: no password was compared.
	CredentialVersion int64
}

type signInKey struct{}

// WithSignIn says that a session which is created with ctx is that of a sign-in flow.
func WithSignIn(ctx context.Context, s SignIn) context.Context {
	return context.WithValue(ctx, signInKey{}, s)
}

// SignInFrom returns the sign-in flow that is under way, if one is.
func SignInFrom(ctx context.Context) (SignIn, bool) {
	s, ok := ctx.Value(signInKey{}).(SignIn)
	return s, ok
}

// DeveloperError is a mistake of the program whose text goes out with the 500, because clients or tests look for it.
type DeveloperError struct{ Message string }

func (e *DeveloperError) Error() string { return e.Message }

// ErrUserChanged is returned by the insertion of a session when the user was linked, deleted or given a new password since it was read.
var ErrUserChanged = errors.New("env: the user has changed meanwhile")
