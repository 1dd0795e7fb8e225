// Package limits counts what nobody may try without end. Each count is a row of the table limits, and that row is its lock: whoever counts holds it
// until the count is committed, so that of any number of parallel tries, in any number of processes, no more than the limit are let through.
//
// A count survives the request that caused it. Calls that count run in a transaction of their own, which no longer listens to the caller once it
// has begun, and refuse to join one of the host's (store.ErrInsideTx), whose rollback would give the tries back.
//
// [Attempts] bounds the wrong second factors of a person. A factor whose secret can be compared in a moment takes the row with [Attempts.Lock],
// compares, and writes [Budget.Fail] or [Budget.Clear], all in one transaction. A factor with a check of its own, which may be slow or foreign, calls
// [Attempts.Reserve] first: the attempt counts as wrong until [ClearAttempts] says otherwise.
//
// [Passwords] makes whoever guesses at the password of an account wait, whether or not there is one.
package limits
