package session

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/stepup-auth/stepup/internal/strictjson"
)

// APIOptions is what every API gets besides its own input.
type APIOptions struct {
	Request *http.Request
	// Response: writing a body answers the request; the result of the API is then dropped.
	Response http.ResponseWriter
}

// Decode reads the JSON body of the request into v, as often as it is called: the body is read once, within Config.MaxBodyBytes, and kept as long as
// the request. (Request.Body itself is used up.) It is for members that the library does not know, such as an invite code. No body is an empty
// object. Keys match exactly, unknown ones are ignored; a key that occurs twice, nesting deeper than 32, and text that is not UTF-8 or holds U+0000 are
// refused. An error is a *BadInputError, unless v is no pointer. In an override of a function: APIOptions{Request: RequestFromContext(ctx)}.Decode(&v).
func (o APIOptions) Decode(v any) error {
	if o.Request == nil {
		return errors.New("session: Decode: there is no request")
	}
	var object *strictjson.Object
	var err error
	if x := exchangeOf(o.Request.Context()); x != nil {
		object, err = x.body.read(o.Request, x.recipe.cfg.MaxBodyBytes)
	} else {
		var raw []byte // nothing keeps it but the request itself
		raw, err = readBody(o.Request, defaultBodySize)
		o.Request.Body = io.NopCloser(bytes.NewReader(raw))
		if err == nil {
			object, err = parseBody(raw)
		}
	}
	if err != nil {
		return err
	}
	if err := object.Decode(v); err != nil {
		return badJSON(err)
	}
	return nil
}

const invalidJSON = "API input error: Please make sure to pass a valid JSON input in the request body"

// badJSON makes a 400 of what the sender did wrong.
func badJSON(err error) error {
	fault, ok := errors.AsType[*strictjson.Error](err)
	if !ok {
		return err
	}
	if fault == strictjson.ErrSyntax {
		return &BadInputError{Message: invalidJSON}
	}
	return &BadInputError{Message: invalidJSON + ": " + fault.Message}
}

// body is that of one request, read once.
type body struct {
	once   sync.Once
	object *strictjson.Object
	err    error
}

func (b *body) read(req *http.Request, limit int64) (*strictjson.Object, error) {
	b.once.Do(func() {
		var raw []byte
		if raw, b.err = readBody(req, limit); b.err == nil {
			b.object, b.err = parseBody(raw)
		}
	})
	return b.object, b.err
}

func readBody(req *http.Request, limit int64) ([]byte, error) {
	if encoding := strings.TrimSpace(req.Header.Get("Content-Encoding")); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, &BadInputError{Message: "API input error: a body with a Content-Encoding is not read", status: http.StatusUnsupportedMediaType}
	}
	if _, parameters, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err == nil {
		if charset := strings.ToLower(parameters["charset"]); charset != "" && charset != "utf-8" && charset != "utf8" {
			return nil, &BadInputError{Message: invalidJSON}
		}
	}
	if req.Body == nil {
		return nil, nil
	}
	raw, err := io.ReadAll(io.LimitReader(req.Body, limit+1))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge || int64(len(raw)) > limit {
		return nil, &BadInputError{Message: "API input error: the body is too large", status: http.StatusRequestEntityTooLarge}
	}
	if err != nil {
		return nil, &BadInputError{Message: "API input error: the body could not be read"}
	}
	return raw, nil
}

func parseBody(raw []byte) (*strictjson.Object, error) {
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	object, err := strictjson.Parse(raw)
	if err != nil {
		return nil, badJSON(err)
	}
	return object, nil
}
