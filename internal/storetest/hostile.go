package storetest

import "strings"

// Hostile are texts that a careless statement, pattern, template or header would take for something else. All are valid UTF-8 without U+0000, at
// most 100 characters long, and differ when trimmed and lower-cased.
var Hostile = []string{
	`'`, `"`, "`", `\`, `\'`, `''`, `%`, `_`, `!%`, `$1`, `?`, `:a`, `@a`, `{p}users`, `--`, `/*`, `;`, `(`, `]`, `<script>alert(1)</script>`, `&amp;`,
	`'; DROP TABLE st_recipe_users; --`, `' OR '1'='1`, `" OR ""="`, `x' UNION SELECT secret_box FROM st_totp_devices --`,
	"a\nb", "a\r\nSet-Cookie: x=y", "a\tb", "\u200b", "\u202eabc", "\ufeff1", "İ", "ſ", "e\u0301", "\u00e9", "💥", "\U0010ffff", "\ufffd", "\x7f", "\x01",
	`null`, `true`, `0`, `-1`, `{"a":1}`, `[]`, `../../etc/passwd`, `%00`, `%27`, `\u0000`, `_supertokens`, `__proto__`, strings.Repeat("ü", 100),
}
