package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/stepup-auth/stepup/internal/canonical"
	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/token"
)

var errBusy = errors.New("session: other requests changed the payload of the session too often")

// regenerateAccessToken is the default of Functions.RegenerateAccessToken. The payload of the token is the version that the stored one must have; when
// it has another, the change that ctx carries is made anew on that one. A call of the host's replaces whatever is there.
func (r *Recipe) regenerateAccessToken(ctx context.Context, in RegenerateAccessTokenInput) (RegenerateAccessTokenResult, error) {
	var none RegenerateAccessTokenResult
	now := r.env.Now()
	access, err := r.verifyExpired(ctx, now, in.AccessToken)
	if err == errNotOurs {
		return none, noSession()
	}
	if err != nil {
		return none, err
	}
	given, err := customObject(originalPayload(ctx, in.NewAccessTokenPayload))
	if err != nil {
		return none, err
	}
	c := changeOf(ctx, access.Handle)
	base, err := access.Custom()
	if err != nil {
		return none, err
	}
	if c != nil {
		base = c.base // that of a token which has expired may be older
	}
	update := difference(base, given)
	next, err := apply(base, update)
	if err != nil {
		return none, err
	}
	for range maxTries {
		renewed := &token.Access{}
		if access.Expiry.After(now) {
			if renewed, err = r.renew(ctx, now, access, next); err != nil {
				return none, err
			}
		} else if err := r.checkPayload(ctx, access.UserID, access.RecipeUserID, access.TenantID, access.Handle, next); err != nil {
			return none, err
		}
		swapped, err := r.swap(ctx, access.Handle, base.Text(), next.Text(), now)
		if err != nil {
			return none, err
		}
		if swapped {
			if c != nil {
				c.stored = next
			}
			if renewed.Text != "" {
				r.verified.add(renewed)
			}
			return RegenerateAccessTokenResult{renewed.Text, renewed.Expiry}, nil
		}
		stored, err := r.read(ctx, access.Handle, now)
		if err != nil {
			return none, err
		}
		if stored == nil {
			return none, ErrSessionDoesNotExist
		}
		if base, err = canonical.Parse(stored.payload); err != nil {
			return none, err
		}
		again := difference(base, given)
		if c != nil {
			if again, err = c.again(ctx, stored, base, update); err != nil {
				return none, err
			}
		}
		if next, err = apply(base, again); err != nil {
			return none, err
		}
	}
	return none, errBusy
}

// checkPayload refuses a payload that the next token could not carry.
func (r *Recipe) checkPayload(ctx context.Context, userID, recipeUserID, tenantID, handle string, custom canonical.Object) error {
	now := r.env.Now()
	access, front, err := token.AccessSizes(signingAlgorithm, longestKeyID, token.Session{
		UserID: userID, RecipeUserID: recipeUserID, TenantID: tenantID, Handle: handle, RefreshHash1: token.Hash1(""), Issuer: r.issuer,
		IssuedAt: now, Expiry: now, Custom: custom,
	})
	if err != nil {
		return err
	}
	return r.checkSizes(RequestFromContext(ctx), access, front)
}

// longestKeyID is as long as an id of a key can be.
const longestKeyID = "s-00000000-0000-0000-0000-000000000000"

// mergeIntoAccessTokenPayload is the default of Functions.MergeIntoAccessTokenPayload.
func (r *Recipe) mergeIntoAccessTokenPayload(ctx context.Context, in MergeIntoAccessTokenPayloadInput) error {
	if err := refuseProtected(in.Update); err != nil {
		return err
	}
	now := r.env.Now()
	c := changeOf(ctx, in.SessionHandle)
	var info *Information
	if c != nil {
		info = c.info
	} else {
		var err error
		if info, err = r.functions.GetSessionInformation(ctx, GetSessionInformationInput{in.SessionHandle}); err != nil {
			return err
		}
	}
	base, err := info.payload()
	if err != nil {
		return err
	}
	given := originalPayload(ctx, in.Update)
	update := given
	for range maxTries {
		next, err := apply(base, update)
		if err != nil {
			return err
		}
		if err := r.checkPayload(ctx, info.UserID, string(info.RecipeUserID), info.TenantID, in.SessionHandle, next); err != nil {
			return err
		}
		swapped, err := r.swap(ctx, in.SessionHandle, base.Text(), next.Text(), now)
		if err != nil || swapped {
			return err
		}
		stored, err := r.read(ctx, in.SessionHandle, now)
		if err != nil {
			return err
		}
		if stored == nil {
			return ErrSessionDoesNotExist
		}
		if base, err = canonical.Parse(stored.payload); err != nil {
			return err
		}
		if c != nil {
			if update, err = c.again(ctx, stored, base, given); err != nil {
				return err
			}
		}
	}
	return errBusy
}

// payload is the stored one, with its texts.
func (i *Information) payload() (canonical.Object, error) {
	if i == nil {
		return nil, ErrSessionDoesNotExist
	}
	if i.stored != nil {
		return i.stored, nil
	}
	return canonical.Of(i.CustomClaimsInAccessTokenPayload) // an override made it
}

// ChangePayload is for the recipes of this module: Session.ChangePayload of a session that is not at hand. Gone: ErrSessionDoesNotExist.
func (r *Recipe) ChangePayload(
	ctx context.Context, _ env.Key, handle string, ask func(ctx context.Context, payload map[string]any) (update map[string]any, err error),
) error {
	return r.changePayload(r.env.Bind(ctx), handle, ask)
}

func (r *Recipe) changePayload(ctx context.Context, handle string, ask question) error {
	info, err := r.functions.GetSessionInformation(ctx, GetSessionInformationInput{handle})
	if err != nil {
		return err
	}
	payload, err := info.whole()
	if err != nil {
		return err
	}
	update, err := ask(ctx, payload)
	if err != nil || len(update) == 0 {
		return err
	}
	if err := refuseProtected(update); err != nil {
		return err
	}
	asked, written, err := privateCopy("Update", update)
	if err != nil {
		return err
	}
	c := &change{handle: handle, ask: ask, asked: update, info: info}
	ctx = context.WithValue(withTexts(ctx, texts{payload: written}), changeKey{}, c)
	return r.functions.MergeIntoAccessTokenPayload(ctx, MergeIntoAccessTokenPayloadInput{handle, asked})
}

// whole is the stored payload as claims see one.
func (i *Information) whole() (map[string]any, error) {
	object, err := canonical.Of(i.CustomClaimsInAccessTokenPayload)
	if err != nil {
		return nil, fmt.Errorf("session: payload: %w", err)
	}
	return whole(object, i.UserID, string(i.RecipeUserID), i.TenantID, i.SessionHandle)
}
