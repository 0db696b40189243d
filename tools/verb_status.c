/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>

#include "repo/clone.h"
#include "repo/listing.h"
#include "repo/machine.h"
#include "repo/quarantine.h"
#include "repo/repo.h"
#include "src/text.h"
#include "tools/json.h"
#include "tools/say.h"
#include "tools/table.h"
#include "tools/verb.h"

struct status {
	const struct cli *cli;
	struct repo *repo;
	struct store_info info;
	struct store_count chunks, maps;
	struct table table;
	uint64_t n_machines, n_points, size, data;
	uint64_t n_clones, n_quarantined;
	int damaged; /* -EBADMSG once a point was, which hides no other */
};

/* Of one machine; its points come oldest first. */
struct machine {
	uint64_t n, size; /* size of the newest point */
	uint64_t data, total;
	int64_t oldest, newest;
};

static int visit_point(void *arg, const struct point *p)
{
	struct machine *m = arg;

	m->size = 0;
	for (size_t i = 0; i < p->disks.n; i++) {
		m->size += p->disks.v[i].size;
		m->data += p->disks.v[i].stats.data;
	}
	m->total += m->size;
	m->newest = p->id.time;
	if (m->n++ == 0)
		m->oldest = p->id.time;
	return 0;
}

static void add_row(struct status *s, const char *name, const struct machine *m)
{
	char t[32];

	table_add(&s->table, "%s", name);
	table_add(&s->table, "%" PRIu64, m->n);
	table_add(&s->table, "%s", m->n ? time_text(m->oldest, t) : "-");
	table_add(&s->table, "%s", m->n ? time_text(m->newest, t) : "-");
	table_add_size(&s->table, m->size);
}

static int visit_machine(void *arg, const char *name, const struct uuid *uuid)
{
	struct status *s = arg;
	struct machine m = { 0 };
	char text[UUID_TEXT];
	int r = point_list(s->repo, uuid, false, visit_point, &m);

	if (r < 0 && r != -EBADMSG)
		return r;
	s->damaged = r < 0 ? r : s->damaged;
	s->n_machines++;
	s->n_points += m.n;
	s->size += m.total;
	s->data += m.data;
	if (!s->cli->json) {
		add_row(s, name, &m);
		return 0;
	}
	json_line(stdout,
		json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "type",
			"machine", "machine", name, "uuid",
			uuid_text(uuid, text), "points", json_bytes(m.n),
			"oldest", m.n ? json_time(m.oldest) : json_null(),
			"newest", m.n ? json_time(m.newest) : json_null(),
			"size", json_bytes(m.size)));
	return 0;
}

static int visit_clone(void *arg, const struct clone *c)
{
	(void)c;
	((struct status *)arg)->n_clones++;
	return 0;
}

static int list_clones(struct status *s)
{
	int r = clone_list(s->repo, visit_clone, s);

	if (r == -EBADMSG) {
		s->damaged = r;
		r = 0;
	}
	return r;
}

static int count_quarantine(struct status *s)
{
	struct quarantine q = { 0 };
	int r = quarantine_load(s->repo, &q);

	s->n_quarantined = q.n;
	quarantine_fini(&q);
	return r;
}

/* How many times as much as is stored all the points hold. */
static double ratio(const struct status *s)
{
	return s->chunks.bytes ? (double)s->data / (double)s->chunks.bytes : 1;
}

static void print_json(const struct status *s)
{
	char uuid[UUID_TEXT];
	json_t *o = json_pack("{s:s, s:s, s:o, s:s, s:i, s:s, s:o, s:i}",
		"type", "summary", "verb", "status", "repository",
		json_text(s->repo->url), "store", s->info.kind, "format",
		REPO_FORMAT, "uuid", uuid_text(&s->repo->uuid, uuid), "created",
		json_time(s->repo->created), "compression", s->repo->level);

	json_object_set_new(o, "machines", json_bytes(s->n_machines));
	json_object_set_new(o, "points", json_bytes(s->n_points));
	json_object_set_new(o, "clones", json_bytes(s->n_clones));
	json_object_set_new(o, "size", json_bytes(s->size));
	json_object_set_new(o, "data", json_bytes(s->data));
	json_object_set_new(o, "chunks", json_bytes(s->chunks.n));
	json_object_set_new(o, "chunk_bytes", json_bytes(s->chunks.bytes));
	json_object_set_new(o, "maps", json_bytes(s->maps.n));
	json_object_set_new(o, "map_bytes", json_bytes(s->maps.bytes));
	json_object_set_new(o, "quarantined", json_bytes(s->n_quarantined));
	json_object_set_new(o, "ratio", json_real(ratio(s)));
	json_object_set_new(o, "disk_used", json_bytes(s->info.bytes));
	json_object_set_new(o, "disk_dead", json_bytes(s->info.bytes_dead));
	json_object_set_new(o, "disk_free",
		s->info.bytes_free == STORE_FREE_UNKNOWN
			? json_null()
			: json_bytes(s->info.bytes_free));
	json_object_set_new(o, "segments", json_bytes(s->info.n_segments));
	json_line(stdout, o);
}

static void print_text(struct status *s)
{
	const struct repo *r = s->repo;
	char uuid[UUID_TEXT], t[32], a[16], b[16], c[16];

	say_line(stdout, "repository   %s", r->url);
	printf("store        %s, format %d\n", s->info.kind, REPO_FORMAT);
	printf("uuid         %s\n", uuid_text(&r->uuid, uuid));
	printf("created      %s\n", time_text(r->created, t));
	printf("compression  zstd %d\n", r->level);
	printf("machines     %" PRIu64 "\n", s->n_machines);
	printf("points       %" PRIu64 ": %s of disks, %s of data\n",
		s->n_points, size_text(s->size, a), size_text(s->data, b));
	printf("clones       %" PRIu64 "\n", s->n_clones);
	printf("stored       %s in %" PRIu64 " chunk%s, %s in %" PRIu64
	       " map%s\n",
		size_text(s->chunks.bytes, a), s->chunks.n, plural(s->chunks.n),
		size_text(s->maps.bytes, b), s->maps.n, plural(s->maps.n));
	printf("ratio        %.2f: data of all points, over what they take\n",
		ratio(s));
	printf("on disk      %s, of which %s is no longer used",
		size_text(s->info.bytes, a), size_text(s->info.bytes_dead, b));
	if (s->info.bytes_free != STORE_FREE_UNKNOWN)
		printf("; %s free", size_text(s->info.bytes_free, c));
	putchar('\n');
	if (s->n_quarantined)
		printf("damaged      %" PRIu64
		       " of the chunks and maps; hivefs "
		       "verify says what that touches\n",
			s->n_quarantined);
	if (s->n_machines)
		putchar('\n');
}

static int run(struct cli *c)
{
	static const char *const heads[] = { "MACHINE", ">POINTS", "OLDEST",
		"NEWEST", ">SIZE", NULL };
	scoped(repo_closep) struct repo *repo = NULL;
	struct status s = { .cli = c, .table.heads = heads };
	int r = cli_open(c, STORE_READ_ONLY, &repo);

	if (r < 0)
		return r;
	s.repo = repo;
	r = store_info(repo->store, &s.info);
	if (r == 0)
		r = store_estimate(repo->store, COLL_CHUNKS, &s.chunks);
	if (r == 0)
		r = store_estimate(repo->store, COLL_MAPS, &s.maps);
	if (r == 0)
		r = machine_list(repo, visit_machine, &s);
	if (r == 0)
		r = list_clones(&s);
	if (r == 0)
		r = count_quarantine(&s);
	if (r == 0 && listing_check(repo->store) < 0)
		s.damaged = -EBADMSG;
	if (r == 0 && !c->json)
		print_text(&s);
	table_print(&s.table, 0);
	if (r == 0 && c->json)
		print_json(&s);
	return r < 0 ? r : s.damaged;
}

const struct verb verb_status = {
	.name = "status",
	.operands = "",
	.summary = "Show on one page what the repository holds and takes",
	.run = run,
};
