package session

import (
	"context"
	"time"

	"github.com/stepup-auth/stepup/internal/env"
	"github.com/stepup-auth/stepup/internal/input"
	"github.com/stepup-auth/stepup/internal/store"
)

// reasonKey carries why a session ends to the event that tells of it.
type reasonKey struct{}

func withReason(ctx context.Context, reason string) context.Context {
	return context.WithValue(ctx, reasonKey{}, reason)
}

func reasonOf(ctx context.Context) string {
	if reason, ok := ctx.Value(reasonKey{}).(string); ok {
		return reason
	}
	return env.ReasonRevoked
}

// RevokeSession ends a session; false: there was none. Its access token passes until it expires, except where VerifyOptions.CheckDatabase is set.
func (r *Recipe) RevokeSession(ctx context.Context, handle string) (bool, error) {
	return r.functions.RevokeSession(r.env.Bind(ctx), RevokeSessionInput{handle})
}

// revokeSession is the default of Functions.RevokeSession.
func (r *Recipe) revokeSession(ctx context.Context, in RevokeSessionInput) (bool, error) {
	if problem := input.Text("SessionHandle", in.SessionHandle); problem != "" {
		return false, &BadInputError{Message: problem}
	}
	ended, err := r.end(ctx, deleteRow, tenantOf(in.SessionHandle), in.SessionHandle)
	return len(ended) > 0, err
}

// end runs a deletion and tells of each session that it ended. Expired ones are left to the sweep.
func (r *Recipe) end(ctx context.Context, statement *store.Statement, args ...any) ([]string, error) {
	type ended struct{ handle, tenantID, userID string }
	rows, err := store.Rows(ctx, r.env.Store, statement, append(args, r.env.Now().UnixMilli()), func(scan func(dest ...any) error) (e ended, err error) {
		err = scan(&e.handle, &e.tenantID, &e.userID)
		return e, err
	})
	if err != nil {
		return nil, err
	}
	handles := make([]string, len(rows))
	for i, e := range rows {
		handles[i] = e.handle
		r.env.Emit(ctx, env.Event{
			Name: env.SessionEnded, UserID: e.userID, TenantID: e.tenantID, SessionHandle: e.handle, OK: true, Reason: reasonOf(ctx),
		})
	}
	return handles, nil
}

// RevokeMultipleSessions ends sessions, all or none, and returns the handles of those that there were.
func (r *Recipe) RevokeMultipleSessions(ctx context.Context, handles []string) ([]string, error) {
	return r.functions.RevokeMultipleSessions(r.env.Bind(ctx), RevokeMultipleSessionsInput{append([]string{}, handles...)})
}

// revokeMultipleSessions is the default of Functions.RevokeMultipleSessions.
func (r *Recipe) revokeMultipleSessions(ctx context.Context, in RevokeMultipleSessionsInput) ([]string, error) {
	for _, handle := range in.SessionHandles {
		if problem := input.Text("SessionHandles", handle); problem != "" {
			return nil, &BadInputError{Message: problem}
		}
	}
	var ended []string
	err := r.env.Store.Tx(ctx, func(ctx context.Context) error {
		ended = []string{} // of an earlier try
		for _, handle := range in.SessionHandles {
			one, err := r.end(ctx, deleteRow, tenantOf(handle), handle)
			if err != nil {
				return err
			}
			ended = append(ended, one...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ended, nil
}

// RevokeAllSessionsForUser ends the sessions of a person, by one statement, and returns their handles in no certain order. A tenant that does not exist is
// ErrTenantNotFound.
func (r *Recipe) RevokeAllSessionsForUser(ctx context.Context, in RevokeAllSessionsForUserInput) ([]string, error) {
	return r.functions.RevokeAllSessionsForUser(r.env.Bind(ctx), in)
}

// revokeAllSessionsForUser is the default of Functions.RevokeAllSessionsForUser.
func (r *Recipe) revokeAllSessionsForUser(ctx context.Context, in RevokeAllSessionsForUserInput) ([]string, error) {
	tenantID, err := checkList(in.UserID, in.OnlyTenantID)
	if err != nil {
		return nil, err
	}
	statement := deleteOfPerson
	if in.OnlyThisLoginMethod {
		statement = deleteOfMethod
	}
	ended, err := r.end(ctx, statement, in.UserID, tenantID)
	if err == nil && len(ended) == 0 && tenantID != "" {
		err = r.assertTenant(ctx, tenantID)
	}
	return ended, err
}

// checkList judges what a list is asked for; tenant "" is all.
func checkList(userID, onlyTenantID string) (tenantID string, err error) {
	if problem := input.UserID("UserID", userID); problem != "" {
		return "", &BadInputError{Message: problem}
	}
	if onlyTenantID == "" {
		return "", nil
	}
	return normalTenant(onlyTenantID)
}

// GetAllSessionHandlesForUser lists the live sessions of a person, newest first. A tenant that does not exist is ErrTenantNotFound.
func (r *Recipe) GetAllSessionHandlesForUser(ctx context.Context, in GetAllSessionHandlesForUserInput) ([]string, error) {
	return r.functions.GetAllSessionHandlesForUser(r.env.Bind(ctx), in)
}

// getAllSessionHandlesForUser is the default of Functions.GetAllSessionHandlesForUser.
func (r *Recipe) getAllSessionHandlesForUser(ctx context.Context, in GetAllSessionHandlesForUserInput) ([]string, error) {
	rows, err := r.list(ctx, in)
	handles := make([]string, len(rows))
	for i, s := range rows {
		handles[i] = s.handle
	}
	return handles, err
}

// GetAllSessionsForUser is for settings pages and support staff: the live sessions, newest first, read by one statement.
func (r *Recipe) GetAllSessionsForUser(ctx context.Context, in GetAllSessionHandlesForUserInput) ([]Information, error) {
	rows, err := r.list(r.env.Bind(ctx), in)
	if err != nil {
		return nil, err
	}
	sessions := make([]Information, len(rows))
	for i, s := range rows {
		info, err := s.information()
		if err != nil {
			return nil, err
		}
		sessions[i] = *info
	}
	return sessions, nil
}

func (r *Recipe) list(ctx context.Context, in GetAllSessionHandlesForUserInput) ([]*row, error) {
	tenantID, err := checkList(in.UserID, in.OnlyTenantID)
	if err != nil {
		return nil, err
	}
	statement := listOfPerson
	if in.OnlyThisLoginMethod {
		statement = listOfMethod
	}
	rows, err := store.Rows(ctx, r.env.Store, statement, []any{in.UserID, tenantID, r.env.Now().UnixMilli()}, scanRow)
	if err == nil && len(rows) == 0 && tenantID != "" {
		err = r.assertTenant(ctx, tenantID)
	}
	return rows, err
}

// GetSessionInformation reads a session. Gone: ErrSessionDoesNotExist.
func (r *Recipe) GetSessionInformation(ctx context.Context, handle string) (*Information, error) {
	return r.functions.GetSessionInformation(r.env.Bind(ctx), GetSessionInformationInput{handle})
}

// getSessionInformation is the default of Functions.GetSessionInformation.
func (r *Recipe) getSessionInformation(ctx context.Context, in GetSessionInformationInput) (*Information, error) {
	stored, err := r.read(ctx, in.SessionHandle, r.env.Now())
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, ErrSessionDoesNotExist
	}
	return stored.information()
}

// UpdateSessionDataInDatabase replaces the data that only the server sees; nil is an empty object. Gone: ErrSessionDoesNotExist.
func (r *Recipe) UpdateSessionDataInDatabase(ctx context.Context, handle string, data map[string]any) error {
	private, written, err := privateCopy("NewData", data)
	if err != nil {
		return err
	}
	ctx = withTexts(r.env.Bind(ctx), texts{data: written})
	return r.functions.UpdateSessionDataInDatabase(ctx, UpdateSessionDataInDatabaseInput{handle, private})
}

// updateSessionDataInDatabase is the default of Functions.UpdateSessionDataInDatabase.
func (r *Recipe) updateSessionDataInDatabase(ctx context.Context, in UpdateSessionDataInDatabaseInput) error {
	if problem := input.Text("SessionHandle", in.SessionHandle); problem != "" {
		return &BadInputError{Message: problem}
	}
	data, err := dataText(originalData(ctx, in.NewData))
	if err != nil {
		return err
	}
	n, err := r.env.Store.Exec(ctx, setData, tenantOf(in.SessionHandle), in.SessionHandle, data, r.env.Now().UnixMilli())
	if err == nil && n == 0 {
		return ErrSessionDoesNotExist
	}
	return err
}

// MergeIntoAccessTokenPayload sets keys of the stored payload and deletes those whose value is nil. The client sees it after its next refresh, routes with
// VerifyOptions.CheckDatabase at once. A name that belongs to the token is a *ProtectedClaimError. Gone: ErrSessionDoesNotExist.
func (r *Recipe) MergeIntoAccessTokenPayload(ctx context.Context, handle string, update map[string]any) error {
	if err := refuseProtected(update); err != nil {
		return err
	}
	private, written, err := privateCopy("Update", update)
	if err != nil {
		return err
	}
	ctx = withTexts(r.env.Bind(ctx), texts{payload: written})
	return r.functions.MergeIntoAccessTokenPayload(ctx, MergeIntoAccessTokenPayloadInput{handle, private})
}

// RegenerateAccessToken replaces the payload of the token's session. MergeIntoAccessTokenPayload is safe beside other changes, this is not.
func (r *Recipe) RegenerateAccessToken(ctx context.Context, in RegenerateAccessTokenInput) (RegenerateAccessTokenResult, error) {
	return r.functions.RegenerateAccessToken(r.env.Bind(ctx), in)
}

// DeleteExpired removes expired rows of the instance, in batches; call it from a cron job. Only disk space depends on it.
func (r *Recipe) DeleteExpired(ctx context.Context) error {
	ctx = r.env.Bind(ctx)
	for _, sweep := range r.env.Sweeps {
		if err := sweep(ctx); err != nil {
			return err
		}
	}
	return nil
}

// deleteExpired is what DeleteExpired does for sessions and their keys.
func (r *Recipe) deleteExpired(ctx context.Context) error {
	now := r.env.Now()
	for {
		n, err := r.env.Store.Exec(ctx, sweepRows, dayOf(now), now.UnixMilli())
		if err != nil {
			return err
		}
		if n < sweepBatch {
			break
		}
	}
	if err := r.signing.DeleteExpired(ctx, now); err != nil {
		return err
	}
	return r.refreshKeys.DeleteExpired(ctx, now)
}

// dayOf is the day of a time, by which a sweep finds candidates.
func dayOf(t time.Time) int64 { return t.UnixMilli() / int64(day/time.Millisecond) }
