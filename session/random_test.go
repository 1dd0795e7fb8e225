package session_test

import "crypto/rand"

// randomReader is the system's.
type randomReader struct{}

func (randomReader) Read(b []byte) (int, error) { return rand.Read(b) }
