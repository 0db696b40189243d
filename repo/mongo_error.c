/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "repo/mongo.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/monotonic.h"

#define PAUSE_MIN_MS 50
#define PAUSE_MAX_MS 2000

/* Codes of servers, as their error_codes.yml has them. */
enum {
	CODE_HOST_UNREACHABLE = 6,
	CODE_HOST_NOT_FOUND = 7,
	CODE_UNAUTHORIZED = 13,
	CODE_AUTHENTICATION_FAILED = 18,
	CODE_CURSOR_NOT_FOUND = 43,
	CODE_WRITE_CONCERN_FAILED = 64,
	CODE_NETWORK_TIMEOUT = 89,
	CODE_SHUTDOWN_IN_PROGRESS = 91,
	CODE_MAJORITY_NOT_AVAILABLE = 134,
	CODE_PRIMARY_STEPPED_DOWN = 189,
	CODE_EXCEEDED_TIME_LIMIT = 262,
	CODE_SOCKET_EXCEPTION = 9001,
	CODE_NOT_WRITABLE_PRIMARY = 10107,
	CODE_INTERRUPTED_AT_SHUTDOWN = 11600,
	CODE_INTERRUPTED_BY_STATE_CHANGE = 11602,
	CODE_NOT_PRIMARY_NO_SECONDARY_OK = 13435,
	CODE_NOT_PRIMARY_OR_SECONDARY = 13436,
	CODE_OUT_OF_DISK_SPACE = 14031,
};

static bool is_passing_code(uint32_t code)
{
	static const uint32_t codes[] = { CODE_HOST_UNREACHABLE,
		CODE_HOST_NOT_FOUND, CODE_CURSOR_NOT_FOUND,
		CODE_WRITE_CONCERN_FAILED, CODE_NETWORK_TIMEOUT,
		CODE_SHUTDOWN_IN_PROGRESS, CODE_MAJORITY_NOT_AVAILABLE,
		CODE_PRIMARY_STEPPED_DOWN, CODE_EXCEEDED_TIME_LIMIT,
		CODE_SOCKET_EXCEPTION, CODE_NOT_WRITABLE_PRIMARY,
		CODE_INTERRUPTED_AT_SHUTDOWN, CODE_INTERRUPTED_BY_STATE_CHANGE,
		CODE_NOT_PRIMARY_NO_SECONDARY_OK,
		CODE_NOT_PRIMARY_OR_SECONDARY };

	for (unsigned i = 0; i < N_ELEMS(codes); i++)
		if (codes[i] == code)
			return true;
	return false;
}

static bool is_servers(const bson_error_t *e)
{
	return e->domain == MONGOC_ERROR_SERVER ||
	       e->domain == MONGOC_ERROR_WRITE_CONCERN;
}

static bool is_network(const bson_error_t *e)
{
	return e->domain == MONGOC_ERROR_STREAM ||
	       (e->domain == MONGOC_ERROR_SERVER_SELECTION &&
		       e->code == MONGOC_ERROR_SERVER_SELECTION_FAILURE) ||
	       /* a reply that broke off */
	       (e->domain == MONGOC_ERROR_PROTOCOL &&
		       e->code == MONGOC_ERROR_PROTOCOL_INVALID_REPLY);
}

static bool is_authentication(const bson_error_t *e)
{
	return (e->domain == MONGOC_ERROR_CLIENT &&
		       e->code == MONGOC_ERROR_CLIENT_AUTHENTICATE) ||
	       (is_servers(e) && e->code == CODE_AUTHENTICATION_FAILED);
}

bool mongo_is_passing(const bson_error_t *e)
{
	return is_network(e) || (is_servers(e) && is_passing_code(e->code));
}

bool mongo_again(
	const struct mongo *m, struct mongo_try *t, const bson_error_t *e)
{
	int64_t now = monotonic_ms();
	unsigned shift = MIN_OF(t->n, 10u);
	int64_t ms =
		MIN_OF((int64_t)PAUSE_MIN_MS << shift, (int64_t)PAUSE_MAX_MS);
	struct timespec pause;

	if (!mongo_is_passing(e))
		return false;
	log_debug("mongo", "%s: %s: try %u: %s", m->name, t->what, t->n + 1,
		e->message);
	if (t->since == 0)
		t->since = now;
	t->n++;
	/* once more in any case, however long the first one took */
	if (t->n > 1 && now - t->since + ms > m->patience)
		return false;
	pause = (struct timespec){ .tv_sec = ms / 1000,
		.tv_nsec = ms % 1000 * 1000000 };
	nanosleep(&pause, NULL);
	return true;
}

/* What else it may be than a server that is down. */
static const char *hint(const struct mongo *m, const bson_error_t *e)
{
	bool tls_fails = strstr(e->message, "TLS handshake failed");

	if (e->domain != MONGOC_ERROR_SERVER_SELECTION)
		return "";
	/* there was none, or no reason was known yet */
	if (m->tls && (tls_fails || !strchr(e->message, '[')))
		return "; the server may not speak TLS";
	/* a connection was made, and broke off */
	if (!strstr(e->message, "Failed to read") &&
		!strstr(e->message, "socket delivery"))
		return "";
	return m->tls ? "; the server may want a certificate of this client "
			"(tlsCertificateKeyFile)"
		      : "; the server may want TLS (tls=true)";
}

static int fail_unreachable(
	const struct mongo *m, const struct mongo_try *t, const bson_error_t *e)
{
	const char *text = strstr(e->message, "certificate verify failed");
	const char *why = text ? strstr(text, "): ") : NULL;

	if (why)
		return fail(EACCES,
			"%s: the server's certificate is not accepted: %.*s",
			m->name, (int)strcspn(why + 3, "]"), why + 3);
	/* the library's reasons, one for each server, are in brackets */
	text = strchr(e->message, '[');
	return fail(EIO, "%s: %s: no server answers: %s%s", m->name, t->what,
		text ? text : e->message, hint(m, e));
}

int mongo_fail(
	const struct mongo *m, const struct mongo_try *t, const bson_error_t *e)
{
	if (is_authentication(e))
		return fail(EACCES,
			"%s: the server does not accept the user or the "
			"password",
			m->name);
	if (is_servers(e) && e->code == CODE_UNAUTHORIZED && !m->has_user &&
		strstr(e->message, "authenticat"))
		return fail(EACCES,
			"%s: %s: the server wants a user and a password, and "
			"the URI has none",
			m->name, t->what);
	if (is_servers(e) && e->code == CODE_UNAUTHORIZED)
		return fail(EACCES, "%s: %s: the user has no permission: %s",
			m->name, t->what, e->message);
	if (is_servers(e) && e->code == CODE_OUT_OF_DISK_SPACE)
		return fail(ENOSPC, "%s: %s: the server has no space left",
			m->name, t->what);
	if (e->domain == MONGOC_ERROR_PROTOCOL &&
		e->code == MONGOC_ERROR_PROTOCOL_BAD_WIRE_VERSION)
		return fail(EIO,
			"%s: the server is of a version that this hivefs "
			"cannot work with: %s",
			m->name, e->message);
	if (is_network(e))
		return fail_unreachable(m, t, e);
	return fail(EIO, "%s: %s: %s (code %" PRIu32 ")", m->name, t->what,
		e->message, e->code);
}
