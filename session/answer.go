package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/stepup-auth/stepup/internal/env"
)

const internalError = "internal error"

func message(text string) map[string]any { return map[string]any{"message": text} }

// HandleError always answers: a Refusal with 200 and its status, the errors of this package as their comments say, anything else with 500
// {"message":"internal error"} and the cause in the log. Errors of overrides and hooks are no exception. Only when the header has gone out nothing can
// be answered any more, and the error is in the log.
func (r *Recipe) HandleError(w http.ResponseWriter, req *http.Request, err error) {
	a, req := r.enter(w, req)
	ctx := req.Context()
	if a.sent() {
		r.env.Logger.ErrorContext(ctx, "an error came when the answer was under way", "error", err)
		return
	}
	if r.answerSessionError(a, req, err) {
		return
	}
	if bad, ok := errors.AsType[*BadInputError](err); ok {
		writeJSON(a, or(bad.status, http.StatusBadRequest), message(bad.Message))
		return
	}
	if errors.Is(err, ErrTenantNotFound) {
		writeJSON(a, http.StatusBadRequest, message("Tenant not found"))
		return
	}
	if refusal, ok := errors.AsType[Refusal](err); ok {
		r.answerRefusal(a, req, err, refusal)
		return
	}
	text := internalError
	if mistake, ok := errors.AsType[*env.DeveloperError](err); ok {
		text = mistake.Message
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		r.env.Logger.InfoContext(ctx, "the client hung up", "method", req.Method, "path", req.URL.Path)
	} else {
		r.env.Logger.ErrorContext(ctx, "a request failed", "method", req.Method, "path", req.URL.Path, "error", err)
	}
	r.writeInternalError(a, text)
}

// answerSessionError answers the errors that end or question the session; their handlers may be the host's.
func (r *Recipe) answerSessionError(a *answer, req *http.Request, err error) bool {
	log := func(kind, text string) {
		r.env.Logger.DebugContext(req.Context(), "session: "+kind, "reason", text, "method", req.Method, "path", req.URL.Path)
	}
	h := r.cfg.ErrorHandlers
	if e, ok := errors.AsType[*UnauthorisedError](err); ok {
		log("unauthorised", e.Message)
		if !e.KeepTokens && !r.clearAll(a, req) {
			return true
		}
		call(h.OnUnauthorised, r.writeExpired("unauthorised"), a, req, e)
		return true
	}
	if e, ok := errors.AsType[*TryRefreshTokenError](err); ok {
		log("try refresh token", e.Message)
		call(h.OnTryRefreshToken, r.writeExpired("try refresh token"), a, req, e)
		return true
	}
	if e, ok := errors.AsType[*TokenTheftDetectedError](err); ok {
		if !r.clearAll(a, req) {
			return true
		}
		call(h.OnTokenTheftDetected, r.writeExpired("token theft detected"), a, req, e)
		return true
	}
	if e, ok := errors.AsType[*InvalidClaimsError](err); ok {
		call(h.OnInvalidClaim, func(w http.ResponseWriter) {
			errs := e.Errors
			if errs == nil {
				errs = []ClaimValidationError{}
			}
			writeJSON(w, r.cfg.InvalidClaimStatusCode, map[string]any{"message": "invalid claim", "claimValidationErrors": errs})
		}, a, req, e)
		return true
	}
	if e, ok := errors.AsType[*duplicateCookiesError](err); ok {
		call(h.OnClearDuplicateSessionCookies, func(w http.ResponseWriter) { writeJSON(w, http.StatusOK, message(e.message)) }, a, req, e.message)
		return true
	}
	return false
}

// call runs the host's handler, or the default. One that writes nothing leaves the status to us.
func call[E any](handler func(http.ResponseWriter, *http.Request, E), byDefault func(http.ResponseWriter), a *answer, req *http.Request, e E) {
	if handler != nil {
		handler(a, req, e)
	}
	if !a.sent() {
		byDefault(a)
	}
}

func (r *Recipe) writeExpired(text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { writeJSON(w, r.cfg.SessionExpiredStatusCode, message(text)) }
}

// clearAll takes the tokens of both kinds back; false: the origin of the request is a mistake of the host's, and the answer is a 500.
func (r *Recipe) clearAll(a *answer, req *http.Request) bool {
	if err := r.clearTokens(a, req, TransferCookie, TransferHeader); err != nil {
		r.env.Logger.ErrorContext(req.Context(), "the tokens of a client could not be cleared", "error", err)
		r.writeInternalError(a, internalError)
		return false
	}
	return true
}

func (r *Recipe) answerRefusal(a *answer, req *http.Request, err error, refusal Refusal) {
	status, fields := refusal.Refusal()
	body := maps.Clone(fields)
	if body == nil {
		body = map[string]any{}
	}
	delete(body, "status")
	if limited, ok := errors.AsType[*GeneralError](err); ok && limited.RetryAfter > 0 {
		seconds := (limited.RetryAfter + time.Second - 1) / time.Second
		a.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	raw, err := withStatus(status, body)
	if err != nil {
		r.env.Logger.ErrorContext(req.Context(), "a refusal has fields that are no JSON", "status", status, "error", err)
		r.writeInternalError(a, internalError)
		return
	}
	writeRaw(a, http.StatusOK, raw)
}

// writeInternalError answers with a 500, which never starts a session.
func (r *Recipe) writeInternalError(a *answer, text string) {
	if a.sent() {
		return
	}
	r.dropNewSession(a)
	writeJSON(a, http.StatusInternalServerError, message(text))
}

// writeResult writes what an API returned: an object behind "status":"OK", or a Plain as it is.
func writeResult(w http.ResponseWriter, result any) error {
	if plain, ok := result.(env.Plain); ok {
		raw, err := json.Marshal(plain.Body)
		if err != nil {
			return err
		}
		for name, values := range plain.Header {
			if name != "Access-Control-Allow-Origin" || w.Header().Get(name) == "" { // a CORS handler knows better
				w.Header()[name] = values
			}
		}
		if _, chosen := plain.Header["Cache-Control"]; !chosen {
			forbidCaching(w)
		}
		write(w, http.StatusOK, raw)
		return nil
	}
	raw, err := withStatus("OK", result)
	if err != nil {
		return err
	}
	writeRaw(w, http.StatusOK, raw)
	return nil
}

// withStatus is the JSON of an object with its status before the other members; of nil it is that alone.
func withStatus(status string, object any) ([]byte, error) {
	head, err := json.Marshal(map[string]string{"status": status})
	if err != nil || object == nil {
		return head, err
	}
	raw, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(raw, []byte("{")) {
		return nil, fmt.Errorf("%T is no JSON object", object)
	}
	if string(raw) == "{}" {
		return head, nil
	}
	return append(append(head[:len(head)-1], ','), raw[1:]...), nil
}

func writeJSON(w http.ResponseWriter, status int, body map[string]any) {
	raw, err := json.Marshal(body)
	if err != nil { // the reason of a validator, which is the application's
		status, raw = http.StatusInternalServerError, []byte(`{"message":"`+internalError+`"}`)
	}
	writeRaw(w, status, raw)
}

// writeRaw sends a body that nobody may keep.
func writeRaw(w http.ResponseWriter, status int, raw []byte) {
	forbidCaching(w)
	write(w, status, raw)
}

func forbidCaching(w http.ResponseWriter) { w.Header().Set("Cache-Control", "no-store") }

func write(w http.ResponseWriter, status int, raw []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(raw)
}
