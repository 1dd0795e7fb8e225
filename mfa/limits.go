package mfa

import (
	"cmp"
	"time"

	"github.com/stepup-auth/stepup/internal/limits"
)

// Limits on guessing. All are kept in storage and on by default; the zero value of each field is its default. A count over 100 is an error of
// New.
type Limits struct {
	// MaxAttempts wrong codes within a Cooldown, of TOTP and of factors that use MFA.Attempt, per user over all tenants, devices and these
	// factors: then all of them are refused with a *LimitReachedError until a Cooldown has passed since the last. Defaults: 5 and 15 min.
	MaxAttempts int
	Cooldown    time.Duration

	Guesses GuessLimits // passwords

	// InsecureNoGuessLimits switches Guesses off, Stop included: for end-to-end and load tests. MaxAttempts stays.
	InsecureNoGuessLimits bool
}

// GuessLimits makes whoever guesses a password wait, per tenant and email, known or not. A success clears the count. While a wait lasts, right
// passwords are refused too, with a *session.GeneralError.
type GuessLimits struct {
	Free    int           // wrong ones in a row without a wait; default 9
	Wait    time.Duration // after the next one, then doubling; default 30 s
	MaxWait time.Duration // default 1 h
	// Stop refuses a user's TOTP codes and Attempts after so many wrong ones in a row, whatever time has passed, until MFA.ResetAttempts. Default
	// 100. First factors never stop: a stranger could stop them.
	Stop int
}

func (l Limits) attempts() limits.Attempts {
	a := limits.Attempts{
		Max: cmp.Or(l.MaxAttempts, 5), Cooldown: cmp.Or(l.Cooldown, 15*time.Minute), Stop: cmp.Or(l.Guesses.Stop, 100),
	}
	if l.InsecureNoGuessLimits {
		a.Stop = 0
	}
	return a
}

func (l Limits) guesses() limits.Guesses {
	return limits.Guesses{
		Free:    cmp.Or(l.Guesses.Free, 9),
		Wait:    cmp.Or(l.Guesses.Wait, 30*time.Second),
		MaxWait: cmp.Or(l.Guesses.MaxWait, time.Hour),
		Off:     l.InsecureNoGuessLimits,
	}
}
