package session

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
)

// exchange is one request with what this package knows about it. It is in the request's ctx.
type exchange struct {
	recipe  *Recipe
	request *http.Request
	library bool // a route of ours answers it, not host code
	body    body

	mu         sync.Mutex // changes of the answer's header
	newSession bool       // its tokens are in the header
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// RequestFromContext returns the request being served, or nil. Override functions use it to reach headers and addresses.
func RequestFromContext(ctx context.Context) *http.Request {
	if x := exchangeOf(ctx); x != nil {
		return x.request
	}
	return nil
}

// enter makes a request one of this recipe's instance: its ctx carries the instance. The answer is watched.
func (r *Recipe) enter(w http.ResponseWriter, req *http.Request) (*answer, *http.Request) {
	ctx := r.env.Bind(req.Context())
	x := exchangeOf(ctx)
	if x == nil || x.recipe != r {
		x = &exchange{recipe: r}
		ctx = context.WithValue(ctx, exchangeKey{}, x)
	}
	if ctx != req.Context() {
		req = req.WithContext(ctx)
	}
	if x.request == nil {
		x.request = req
	}
	if a, ok := w.(*answer); ok && a.exchange == x {
		return a, req
	}
	return &answer{ResponseWriter: w, exchange: x}, req
}

// remembering is the request for code of this module, which reads nothing twice. A handler of the host's never gets it: it may run for hours, as one of a
// websocket does, and must see what changes.
func (r *Recipe) remembering(req *http.Request) *http.Request {
	return req.WithContext(r.env.Store.Remember(req.Context()))
}

// answer is a ResponseWriter that knows whether its header has gone out.
type answer struct {
	http.ResponseWriter
	exchange *exchange
	written  bool
	tokens   bool // the header has tokens, or takes them back
}

// WriteHeader keeps answers with tokens out of caches.
func (a *answer) WriteHeader(status int) {
	if status >= 200 && !a.written {
		a.written = true
		if a.tokens {
			forbidCaching(a)
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	a.begin()
	return a.ResponseWriter.Write(b)
}

// ReadFrom lets the server copy files its fast way.
func (a *answer) ReadFrom(from io.Reader) (int64, error) {
	a.begin()
	return io.Copy(a.ResponseWriter, from)
}

func (a *answer) begin() {
	if !a.written {
		a.WriteHeader(http.StatusOK)
	}
}

// Flush sends what was written.
func (a *answer) Flush() {
	a.begin()
	http.NewResponseController(a.ResponseWriter).Flush()
}

// Hijack hands over the connection; afterwards no header can be sent.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffer, err := http.NewResponseController(a.ResponseWriter).Hijack()
	a.written = a.written || err == nil
	return conn, buffer, err
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// sent reports whether the header has gone out, as far as anybody can tell: a framework's writer may have been given to us while the framework writes
// past us.
func (a *answer) sent() bool {
	if a.written {
		return true
	}
	for w := a.ResponseWriter; w != nil; {
		switch inner := w.(type) {
		case *answer:
			if inner.written {
				return true
			}
		case interface{ Written() bool }:
			if inner.Written() {
				return true
			}
		}
		unwrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = unwrapper.Unwrap()
	}
	return false
}

type sessionKey struct{}

// FromContext returns the session of a verified route, else nil.
func FromContext(ctx context.Context) *Session {
	s, _ := ctx.Value(sessionKey{}).(*Session)
	return s
}

// NewContext is for frameworks whose handlers do not get the request that the middleware made (gin, echo), and for tests of handlers.
func NewContext(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}
