package totp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/hotp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var vectorSecret = []byte("12345678901234567890")

func TestPublishedVectors(t *testing.T) { // T-01
	t.Parallel()
	assert.Equal(t, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", encodeSecret(vectorSecret))
	for _, v := range []struct { // RFC 6238, appendix B, the last six digits
		seconds int64
		code    string
	}{{59, "287082"}, {1111111109, "081804"}, {1111111111, "050471"}, {1234567890, "005924"}, {2000000000, "279037"}, {20000000000, "353130"}} {
		c := candidate{secret: vectorSecret, period: 30, lastCounter: -1}
		m, err := findMatch(v.code, time.Unix(v.seconds, 0), []candidate{c}, hotp.GenerateCode)
		require.NoError(t, err)
		assert.Equal(t, match{device: 0, counter: v.seconds / 30}, m, "at %d", v.seconds)
	}
	for counter, want := range []string{ // RFC 4226, appendix D
		"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489",
	} {
		c := candidate{secret: vectorSecret, period: 1, lastCounter: -1}
		m, err := findMatch(want, time.Unix(int64(counter), 0), []candidate{c}, hotp.GenerateCode)
		require.NoError(t, err)
		assert.Equal(t, match{device: 0, counter: int64(counter)}, m)
	}
}

func TestCounters(t *testing.T) { // T-01: 64 bits, beyond 2038 and 2106
	t.Parallel()
	for _, test := range []struct {
		at              time.Time
		period, counter int64
	}{
		{time.Unix(-1, 0), 30, 0},
		{time.Unix(0, 0), 30, 0},
		{time.Unix(29, 999_999_999), 30, 0},
		{time.Unix(30, 0), 30, 1},
		{time.Unix(1<<31, 0), 1, 1 << 31},
		{time.Unix(1<<32+7, 0), 1, 1<<32 + 7},
		{time.Unix(1<<40, 0), 120, 1 << 40 / 120},
	} {
		assert.Equal(t, test.counter, counterAt(test.at, test.period))
	}
	for _, year := range []int{2039, 2107, 2286} {
		now := time.Date(year, 5, 5, 5, 5, 5, 0, time.UTC)
		m, err := findMatch(code(t, encodeSecret(vectorSecret), now, 30), now,
			[]candidate{{secret: vectorSecret, period: 30, skew: 1, lastCounter: -1}}, hotp.GenerateCode)
		require.NoError(t, err)
		assert.Equal(t, match{counter: now.Unix() / 30}, m)
	}
}

// T-03: the code of a counter is accepted from skew periods before its own until skew periods after it, to the second.
func TestWindow(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ period, skew, before, after int64 }{
		{30, 0, 0, 0}, {30, 1, 30, 30}, {30, 2, 60, 60}, {60, 1, 60, 60}, {1, 2, 2, 2}, {120, 0, 0, 0},
	} {
		own := start.Unix()
		text := code(t, encodeSecret(vectorSecret), start, test.period)
		accepted := func(second int64) bool {
			m, err := findMatch(text, time.Unix(second, 0),
				[]candidate{{secret: vectorSecret, period: test.period, skew: test.skew, lastCounter: -1}}, hotp.GenerateCode)
			require.NoError(t, err)
			return m.device == 0 && m.counter == own/test.period
		}
		first, last := own-test.before, own+test.period+test.after-1
		assert.False(t, accepted(first-1), "%+v", test)
		for second := first; second <= last; second++ {
			require.True(t, accepted(second), "%+v at %d", test, second)
		}
		assert.False(t, accepted(last+1), "%+v", test)
		assert.Equal(t, (2*test.skew+1)*test.period, last-first+1)
	}
}

func TestNoCounterBeforeTheEpoch(t *testing.T) {
	t.Parallel()
	var counters []uint64
	_, err := findMatch("000000", time.Unix(-100, 0), []candidate{{secret: vectorSecret, period: 30, skew: 2, lastCounter: -1}},
		func(_ string, counter uint64) (string, error) {
			counters = append(counters, counter)
			return "111111", nil
		})
	require.NoError(t, err)
	assert.Equal(t, []uint64{0, 1, 2}, counters)
}

// T-09: as much is computed for a hit at any place as for a miss.
func TestNoEarlyExit(t *testing.T) {
	t.Parallel()
	candidates := []candidate{
		{secret: []byte("a device of somebody"), period: 30, skew: 1, lastCounter: -1},
		{secret: vectorSecret, period: 60, skew: 2, lastCounter: -1},
		{secret: []byte("one that is used now"), period: 30, skew: 0, lastCounter: start.Unix() / 30},
	}
	codes := []string{"no code"}
	for _, c := range candidates {
		for skew := -c.skew; skew <= c.skew; skew++ {
			codes = append(codes, code(t, encodeSecret(c.secret), start.Add(time.Duration(skew*c.period)*time.Second), c.period))
		}
	}
	require.Len(t, codes, 1+3+5+1)
	for _, text := range codes {
		calls := 0
		_, err := findMatch(text, start, candidates, func(secret string, counter uint64) (string, error) {
			calls++
			return hotp.GenerateCode(secret, counter)
		})
		require.NoError(t, err)
		assert.Equal(t, 3+5+1, calls, "%s", text)
	}
}

func TestWhichMatchCounts(t *testing.T) {
	t.Parallel()
	now := time.Unix(3000, 0) // counter 100
	var codes map[uint64]string
	generate := func(secret string, counter uint64) (string, error) {
		if text, ok := codes[counter]; ok && secret != encodeSecret([]byte("other")) {
			return text, nil
		}
		return "000000", nil
	}
	device := func(secret string, last int64) candidate {
		return candidate{secret: []byte(secret), period: 30, skew: 1, lastCounter: last}
	}
	for name, test := range map[string]struct {
		codes      map[uint64]string
		candidates []candidate
		want       match
	}{
		"the largest counter of one device":     {map[uint64]string{99: "111111", 101: "111111"}, []candidate{device("a", -1)}, match{counter: 101}},
		"the first device in order":             {map[uint64]string{100: "111111"}, []candidate{device("a", -1), device("b", -1)}, match{counter: 100}},
		"a device where another one is used":    {map[uint64]string{100: "111111"}, []candidate{device("a", 100), device("b", 99)}, match{device: 1, counter: 100}},
		"a used counter":                        {map[uint64]string{100: "111111"}, []candidate{device("a", 100)}, match{device: -1, replayed: true}},
		"an older counter than the used one":    {map[uint64]string{99: "111111"}, []candidate{device("a", 100)}, match{device: -1, replayed: true}},
		"a newer counter than the used one":     {map[uint64]string{101: "111111"}, []candidate{device("a", 100)}, match{counter: 101}},
		"used and, by chance, also a newer one": {map[uint64]string{100: "111111", 101: "111111"}, []candidate{device("a", 100)}, match{counter: 101}},
		"of a device that has it not":           {map[uint64]string{100: "111111"}, []candidate{device("other", -1)}, match{device: -1}},
		"no device":                             {nil, nil, match{device: -1}},
	} {
		codes = test.codes
		m, err := findMatch("111111", now, test.candidates, generate)
		require.NoError(t, err)
		assert.Equal(t, test.want, m, name)
	}
}

func TestOneFormOfCode(t *testing.T) { // T-07
	t.Parallel()
	for _, text := range []string{"123456", " 123456", "123 456", " 12 34 56 ", strings.Repeat(" ", 1<<20) + "123456"} {
		assert.Equal(t, "123456", tidy(text))
		assert.True(t, wellFormed(tidy(text)))
	}
	for _, text := range []string{
		"", "12345", "1234567", "12345678", "abcd", "12345a", "+12345", "-12345", "1234.5", "１２３４５６", "١٢٣٤٥٦", "123\t456", "123\n456", "123\u00a0456",
		"0x1234", "12345\x00",
	} {
		assert.False(t, wellFormed(tidy(text)), "%q", text)
		assert.False(t, tooLong(tidy(text)), "%q", text)
	}
	for _, text := range []string{"123456789", strings.Repeat("1", 1<<20), strings.Repeat("é", 9), "e" + strings.Repeat("\u0301", 40)} {
		assert.True(t, tooLong(tidy(text)), fmt.Sprintf("%.20q", text))
	}
}
