package mfa

import "github.com/stepup-auth/stepup/internal/env"

// Routes are all routes of an instance.
func Routes(m *MFA) []env.Route { return m.env.Routes }
