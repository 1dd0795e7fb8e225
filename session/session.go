package session

// Session is one verified or new session.
type Session struct{ claims map[string]any }

// payload is the shared payload of the token; nobody changes it.
func (s *Session) payload() map[string]any { return s.claims }
