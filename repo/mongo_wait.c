/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/mongo_wait.h"

#include <inttypes.h>

#include "repo/mongo.h"
#include "src/log.h"
#include "src/monotonic.h"

/* An election takes longer than this; a server that is there, never. */
#define SILENT_MS 4000

/* The library asks every half second for as long as a call waits. */
static void say(struct mongo_wait *w, const char *why)
{
	int64_t since = atomic_load(&w->since);

	if (atomic_load(&w->over) || since == 0 ||
		monotonic_ms() - since < SILENT_MS ||
		atomic_exchange(&w->said, true))
		return;
	if (atomic_load(&w->was_there))
		log_warn("%s: no server answers; what needs one waits: %s",
			w->name, why);
	else
		log_warn("%s: no server answers; waiting for %" PRId64
			 " s in all: %s",
			w->name, w->limit / 1000, why);
}

static void failed(const mongoc_apm_server_heartbeat_failed_t *event)
{
	bson_error_t e;

	mongoc_apm_server_heartbeat_failed_get_error(event, &e);
	say(mongoc_apm_server_heartbeat_failed_get_context(event), e.message);
}

static bool is_primary(const bson_t *hello)
{
	bson_iter_t it;

	return (bson_iter_init_find(&it, hello, "isWritablePrimary") ||
		       bson_iter_init_find(&it, hello, "ismaster")) &&
	       bson_iter_as_bool(&it);
}

static void succeeded(const mongoc_apm_server_heartbeat_succeeded_t *event)
{
	if (!is_primary(mongoc_apm_server_heartbeat_succeeded_get_reply(event)))
		say(mongoc_apm_server_heartbeat_succeeded_get_context(event),
			"there is no primary");
}

static void changed(const mongoc_apm_topology_changed_t *event)
{
	struct mongo_wait *w = mongoc_apm_topology_changed_get_context(event);
	int64_t none = 0;

	if (!mongoc_topology_description_has_writable_server(
		    mongoc_apm_topology_changed_get_new_description(event))) {
		atomic_compare_exchange_strong(
			&w->since, &none, monotonic_ms());
		return;
	}
	atomic_store(&w->since, 0);
	atomic_store(&w->was_there, true);
	if (atomic_exchange(&w->said, false) && !atomic_load(&w->over))
		log_info("%s: a server answers", w->name);
}

void mongo_wait_begin(struct mongo_wait *w, mongoc_client_pool_t *pool)
{
	mongoc_apm_callbacks_t *all = mongoc_apm_callbacks_new();

	atomic_store(&w->since, monotonic_ms());
	mongoc_apm_set_topology_changed_cb(all, changed);
	mongoc_apm_set_server_heartbeat_failed_cb(all, failed);
	mongoc_apm_set_server_heartbeat_succeeded_cb(all, succeeded);
	mongoc_client_pool_set_apm_callbacks(pool, all, w);
	mongoc_apm_callbacks_destroy(all);
}

void mongo_wait_end(struct mongo_wait *w)
{
	atomic_store(&w->over, true);
}
