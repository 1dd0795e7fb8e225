package store

import (
	"fmt"
	"strings"
)

// steps are the versions of the schema, in order: step i leads from version i to version i+1. A step that was released is never changed.
//
// No column is NULL where an empty text or -1 can stand. Times are milliseconds since the epoch, UTC; a ..._day is floor(ms / 86 400 000) + n
// and only finds candidates for a sweep: every read compares the time itself. There is no foreign key from sessions, devices and tokens to
// tenants: all of them would lock the one row of the tenant public.
var steps = []string{`
CREATE TABLE {p}tenants (
	tenant_id {text} PRIMARY KEY,
	first_factors {text}, -- JSON lists, NULL: not set
	required_secondary_factors {text},
	core_config {text} NOT NULL,
	created_at {int} NOT NULL
){keyed};
INSERT INTO {p}tenants (tenant_id, core_config, created_at) VALUES ('public', '{}', 0);

CREATE TABLE {p}tenant_providers (
	tenant_id {text} NOT NULL REFERENCES {p}tenants (tenant_id) ON DELETE CASCADE,
	third_party_id {text} NOT NULL,
	position INTEGER NOT NULL,
	config {text} NOT NULL,
	PRIMARY KEY (tenant_id, third_party_id)
){keyed};

CREATE TABLE {p}tenant_provider_clients (
	tenant_id {text} NOT NULL,
	third_party_id {text} NOT NULL,
	client_type {text} NOT NULL,
	client_id {text} NOT NULL,
	secret_box {text} NOT NULL,
	config {text} NOT NULL,
	PRIMARY KEY (tenant_id, third_party_id, client_type),
	FOREIGN KEY (tenant_id, third_party_id) REFERENCES {p}tenant_providers (tenant_id, third_party_id) ON DELETE CASCADE
){keyed};

-- One row per login method; recipe_id host: user_id is the host's own id. group_id = user_id for one that is alone and for the anchor of a
-- group. is_primary and version count on the anchor, version also counts the passwords set on the row. recipe_id '' is a tombstone: the anchor
-- of a group whose own login method was deleted.
CREATE TABLE {p}recipe_users (
	user_id {text} PRIMARY KEY,
	group_id {text} NOT NULL REFERENCES {p}recipe_users (user_id),
	is_primary {bool} NOT NULL,
	version {int} NOT NULL,
	recipe_id {text} NOT NULL,
	time_joined {int} NOT NULL,
	email {text} NOT NULL,
	email_verified {bool} NOT NULL, -- the row of verified_emails for the present address
	phone {text} NOT NULL,
	third_party_id {text} NOT NULL,
	third_party_user_id {text} NOT NULL
){hot};
CREATE INDEX {p}recipe_users_group ON {p}recipe_users (group_id);

-- One row per login method and tenant: membership, unique keys of account infos, lookups and paging, with copies of the infos, of group_id and
-- of the group's smallest time_joined.
CREATE TABLE {p}user_tenants (
	user_id {text} NOT NULL REFERENCES {p}recipe_users (user_id) ON DELETE CASCADE,
	tenant_id {text} NOT NULL REFERENCES {p}tenants (tenant_id) ON DELETE CASCADE,
	recipe_id {text} NOT NULL,
	group_id {text} NOT NULL,
	group_time {int} NOT NULL,
	email {text} NOT NULL,
	phone {text} NOT NULL,
	third_party_id {text} NOT NULL,
	third_party_user_id {text} NOT NULL,
	PRIMARY KEY (user_id, tenant_id)
){plain};
CREATE UNIQUE INDEX {p}user_tenants_email ON {p}user_tenants (tenant_id, email, recipe_id, third_party_id, third_party_user_id)
	WHERE email <> '';
CREATE UNIQUE INDEX {p}user_tenants_phone ON {p}user_tenants (tenant_id, phone, recipe_id) WHERE phone <> '';
CREATE UNIQUE INDEX {p}user_tenants_third_party ON {p}user_tenants (tenant_id, third_party_id, third_party_user_id)
	WHERE third_party_id <> '';
CREATE INDEX {p}user_tenants_page ON {p}user_tenants (tenant_id, group_time, group_id, user_id);

CREATE TABLE {p}reservations (
	tenant_id {text} NOT NULL REFERENCES {p}tenants (tenant_id) ON DELETE CASCADE,
	type {text} NOT NULL, -- email, phone, or tparty with the provider and its user id
	value {text} NOT NULL,
	value2 {text} NOT NULL,
	group_id {text} NOT NULL REFERENCES {p}recipe_users (user_id) ON DELETE CASCADE,
	PRIMARY KEY (tenant_id, type, value, value2)
){keyed};
CREATE INDEX {p}reservations_group ON {p}reservations (group_id);

CREATE TABLE {p}emailpassword_credentials (
	user_id {text} PRIMARY KEY REFERENCES {p}recipe_users (user_id) ON DELETE CASCADE,
	password_hash {text} NOT NULL
){plain};

-- Addresses that were verified but are not the present one of their user.
CREATE TABLE {p}verified_emails (
	user_id {text} NOT NULL,
	email {text} NOT NULL,
	PRIMARY KEY (user_id, email)
){keyed};

CREATE TABLE {p}email_verification_tokens (
	token_hash {bytes} PRIMARY KEY,
	tenant_id {text} NOT NULL,
	user_id {text} NOT NULL,
	email {text} NOT NULL,
	expires_at {int} NOT NULL
){plain};
CREATE INDEX {p}email_verification_tokens_user ON {p}email_verification_tokens (user_id);
CREATE INDEX {p}email_verification_tokens_expiry ON {p}email_verification_tokens (expires_at);

CREATE TABLE {p}password_reset_tokens (
	token_hash {bytes} PRIMARY KEY,
	tenant_id {text} NOT NULL,
	user_id {text} NOT NULL,
	email {text} NOT NULL,
	expires_at {int} NOT NULL
){plain};
CREATE INDEX {p}password_reset_tokens_user ON {p}password_reset_tokens (user_id);
CREATE INDEX {p}password_reset_tokens_expiry ON {p}password_reset_tokens (expires_at);

CREATE TABLE {p}sessions (
	tenant_id {text} NOT NULL,
	session_handle {text} NOT NULL,
	user_id {text} NOT NULL, -- of the login method, or an id that has no row
	refresh_hash {bytes} NOT NULL,
	prev_refresh_hash {bytes},
	rotated_at {int},
	successor {bytes},
	generation {int} NOT NULL,
	session_data {text} NOT NULL, -- canonical JSON, as payload
	payload {text} NOT NULL,
	use_static_key {bool} NOT NULL,
	created_at {int} NOT NULL,
	expires_at {int} NOT NULL,
	expires_day INTEGER NOT NULL,
	PRIMARY KEY (tenant_id, session_handle)
){churn};
CREATE INDEX {p}sessions_user ON {p}sessions (user_id);
CREATE INDEX {p}sessions_expiry ON {p}sessions (expires_day);

-- A key names the one that it follows, and one is followed once: two processes that rotate at the same time make one key.
CREATE TABLE {p}signing_keys (
	kid {text} PRIMARY KEY,
	kind {text} NOT NULL,
	algorithm {text} NOT NULL,
	follows {text} NOT NULL,
	created_at {int} NOT NULL,
	public_key {text} NOT NULL,
	private_box {text} NOT NULL,
	UNIQUE (kind, algorithm, follows)
){plain};
CREATE TABLE {p}refresh_keys (
	key_id {text} PRIMARY KEY,
	follows {text} NOT NULL UNIQUE,
	created_at {int} NOT NULL,
	key_box {text} NOT NULL
){plain};

CREATE TABLE {p}roles (role {text} PRIMARY KEY){keyed};
CREATE TABLE {p}role_permissions (
	role {text} NOT NULL REFERENCES {p}roles (role) ON DELETE CASCADE,
	permission {text} NOT NULL,
	PRIMARY KEY (role, permission)
){keyed};
CREATE INDEX {p}role_permissions_permission ON {p}role_permissions (permission);
CREATE TABLE {p}user_roles (
	tenant_id {text} NOT NULL REFERENCES {p}tenants (tenant_id) ON DELETE CASCADE,
	user_id {text} NOT NULL,
	role {text} NOT NULL REFERENCES {p}roles (role) ON DELETE CASCADE,
	PRIMARY KEY (tenant_id, user_id, role)
){keyed};
CREATE INDEX {p}user_roles_user ON {p}user_roles (user_id);
CREATE INDEX {p}user_roles_role ON {p}user_roles (role, tenant_id, user_id);

CREATE TABLE {p}user_metadata (
	user_id {text} PRIMARY KEY,
	metadata {text} NOT NULL,
	supertokens {text} NOT NULL -- the root key _supertokens, apart, so that clear and replace cannot touch it; '' is none
){plain};

CREATE TABLE {p}passwordless_devices (
	tenant_id {text} NOT NULL,
	device_id_hash {text} NOT NULL,
	contact_kind {text} NOT NULL CHECK (contact_kind IN ('email', 'phone')),
	contact {text} NOT NULL CHECK (contact <> ''),
	link_code_salt {bytes} NOT NULL,
	failed_attempts INTEGER NOT NULL,
	resends INTEGER NOT NULL,
	flow_type {text} NOT NULL,
	purpose {text} NOT NULL,
	purpose_user_id {text} NOT NULL,
	created_at {int} NOT NULL,
	expires_at {int} NOT NULL,
	PRIMARY KEY (tenant_id, device_id_hash)
){plain};
CREATE INDEX {p}passwordless_devices_contact ON {p}passwordless_devices (tenant_id, contact);
CREATE INDEX {p}passwordless_devices_expiry ON {p}passwordless_devices (expires_at);
CREATE TABLE {p}passwordless_codes (
	tenant_id {text} NOT NULL,
	device_id_hash {text} NOT NULL,
	code_id {text} NOT NULL,
	link_code_hash {bytes} NOT NULL,
	created_at {int} NOT NULL,
	PRIMARY KEY (tenant_id, device_id_hash, code_id),
	UNIQUE (tenant_id, link_code_hash),
	UNIQUE (tenant_id, code_id),
	FOREIGN KEY (tenant_id, device_id_hash) REFERENCES {p}passwordless_devices (tenant_id, device_id_hash) ON DELETE CASCADE
){plain};

-- All counting of attempts and messages. times: newest first, 13 digits each, no separator.
CREATE TABLE {p}limits (
	scope {text} NOT NULL,
	key {text} NOT NULL,
	times {text} NOT NULL,
	failures INTEGER NOT NULL,
	blocked_until {int} NOT NULL,
	expires_day INTEGER NOT NULL,
	PRIMARY KEY (scope, key)
){churn};
CREATE INDEX {p}limits_expiry ON {p}limits (expires_day);

CREATE TABLE {p}totp_devices (
	device_id {text} PRIMARY KEY,
	user_id {text} NOT NULL,
	name {text} NOT NULL,
	secret_box {text} NOT NULL,
	period INTEGER NOT NULL, -- seconds
	skew INTEGER NOT NULL,
	verified {bool} NOT NULL,
	last_counter {int} NOT NULL, -- -1 before the first use
	created_at {int} NOT NULL,
	UNIQUE (user_id, name)
){hot};
CREATE INDEX {p}totp_devices_unverified ON {p}totp_devices (created_at) WHERE NOT verified;
`}

const createMigrations = `CREATE TABLE IF NOT EXISTS {p}migrations (version INTEGER PRIMARY KEY, applied_at {int} NOT NULL){plain}`

// SchemaText is what the host's own migration tool runs instead of us: each step under a line "-- version n", with its row of migrations. It
// panics on a prefix that Open refuses.
func SchemaText(d *Dialect, prefix string) string {
	prefix, err := checkPrefix(prefix)
	if err != nil {
		panic(err)
	}
	b := &Backend{dialect: d, prefix: prefix}
	var text strings.Builder
	for i, step := range steps {
		fmt.Fprintf(&text, "-- version %d\n", i+1)
		if i == 0 {
			text.WriteString(b.render(createMigrations) + ";\n")
		}
		text.WriteString(strings.TrimSpace(b.render(step)) + "\n")
		fmt.Fprintf(&text, "INSERT INTO %smigrations (version, applied_at) VALUES (%d, 0);\n\n", prefix, i+1)
	}
	return text.String()
}
