/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "repo/mongo.h"
#include "repo/mongo_doc.h"
#include "repo/store_mongo.h"
#include "src/bytes.h"
#include "src/log.h"
#include "src/pool.h"

/*
 * of one request or reply, which is of some 6 MiB where they are chunks, 32 at
 * most: not every server ends it by its size
 */
#define GET_KEYS 256u
#define BATCH_DOCS 256
#define EXISTS_KEYS 1024u

static void in_keys(
	bson_t *filter, enum coll c, const struct key *keys, size_t n)
{
	bson_t in, list;
	char text[16];
	const char *name;

	bson_init(filter);
	BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &in);
	BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
	for (size_t i = 0; i < n; i++) {
		bson_uint32_to_string((uint32_t)i, &name, text, sizeof(text));
		mongo_id_append(&list, name, c, &keys[i]);
	}
	bson_append_array_end(&in, &list);
	bson_append_document_end(filter, &in);
}

/* What a query gives goes to TAKE; other than 0 ends it. */
typedef int (*row_take)(void *arg, const bson_t *b);

/* *ret_error: of a query that broke off; the return value is 0 then. */
static int query(struct mongo *m, enum coll c, const bson_t *filter,
	const bson_t *opts, row_take fn, void *arg, bson_error_t *ret_error,
	bool *ret_broken)
{
	struct mongo_coll mc = mongo_take(m, coll_name(c));
	mongoc_cursor_t *cursor =
		mongoc_collection_find_with_opts(mc.c, filter, opts, NULL);
	const bson_t *b;
	int r = 0;

	while (r == 0 && mongoc_cursor_next(cursor, &b))
		r = fn(arg, b);
	*ret_broken = r == 0 && mongoc_cursor_error(cursor, ret_error);
	mongoc_cursor_destroy(cursor);
	mongo_give(&mc);
	return r;
}

/* The same, from the beginning again where it may pass. FN takes rows twice. */
static int query_again(struct mongo *m, enum coll c, const bson_t *filter,
	const bson_t *opts, row_take fn, void *arg)
{
	struct mongo_try t = mongo_try(coll_name(c));
	bson_error_t e;
	bool broken;
	int r;

	do
		r = query(m, c, filter, opts, fn, arg, &e, &broken);
	while (broken && mongo_again(m, &t, &e));
	return broken ? mongo_fail(m, &t, &e) : r;
}

/* The keys asked for, sorted, with where each one was. */
struct wanted {
	const struct key *key;
	size_t i;
};

static int order(const struct key *a, const struct key *b)
{
	int r = memcmp(a->b, b->b, MIN_OF(a->len, b->len));

	return r ? r : a->len - b->len;
}

static int wanted_order(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;

	return order(x->key, y->key);
}

/* The first of those equal to KEY; N if there is none. */
static size_t wanted_find(
	const struct wanted *w, size_t n, const struct key *key)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (order(w[mid].key, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low < n && key_eq(w[low].key, key) ? low : n;
}

struct get {
	enum coll c;
	struct wanted *w;
	size_t n;
	struct doc *ret;
	int *ret_err;
	bool *ret_exists;
	struct mongo_row *ret_heads;
	row_take fn;
};

static int copy_body(const struct doc *from, struct doc *to)
{
	void *p = malloc(from->len + 1);

	if (!p)
		return fail(ENOMEM, "%s: %m", coll_name(from->coll));
	memcpy(p, from->body, from->len);
	doc_fini(to);
	*to = *from;
	to->body = to->owned = p;
	return 0;
}

static int take_doc(void *arg, const bson_t *b)
{
	struct get *g = arg;
	struct mongo_row row;
	int r = mongo_doc_decode(b, g->c, false, &row);

	for (size_t i = wanted_find(g->w, g->n, &row.doc.key);
		i < g->n && key_eq(g->w[i].key, &row.doc.key); i++) {
		size_t at = g->w[i].i;

		if (r == 0 && copy_body(&row.doc, &g->ret[at]) < 0)
			return -ENOMEM;
		if (g->ret_err)
			g->ret_err[at] = r;
	}
	return g->ret_err && r == -EBADMSG ? 0 : r;
}

static int take_key(void *arg, const bson_t *b)
{
	struct get *g = arg;
	struct key key;
	int r = mongo_doc_decode_key(b, g->c, &key);

	if (r < 0)
		return r;
	for (size_t i = wanted_find(g->w, g->n, &key);
		i < g->n && key_eq(g->w[i].key, &key); i++)
		g->ret_exists[g->w[i].i] = true;
	return 0;
}

static int take_head(void *arg, const bson_t *b)
{
	struct get *g = arg;
	struct mongo_row row;
	int r = mongo_doc_decode(b, g->c, true, &row);

	if (r < 0)
		return r;
	for (size_t i = wanted_find(g->w, g->n, &row.doc.key);
		i < g->n && key_eq(g->w[i].key, &row.doc.key); i++)
		g->ret_heads[g->w[i].i] = row;
	return 0;
}

static int get_some(struct mongo *m, struct get *g, const struct key *keys,
	size_t from, size_t n, const bson_t *opts)
{
	bson_t filter;
	int r;

	for (size_t i = 0; i < n; i++)
		g->w[i] = (struct wanted){ &keys[from + i], from + i };
	g->n = n;
	qsort(g->w, n, sizeof(*g->w), wanted_order);
	in_keys(&filter, g->c, keys + from, n);
	r = query_again(m, g->c, &filter, opts, g->fn, g);
	bson_destroy(&filter);
	return r;
}

static int get_all(struct mongo *m, struct get *g, const struct key *keys,
	size_t n, unsigned step, const bson_t *opts)
{
	int r = 0;

	g->w = calloc(MIN_OF(n, (size_t)step) + 1, sizeof(*g->w));
	if (!g->w)
		return fail(ENOMEM, "%s: %m", coll_name(g->c));
	for (size_t i = 0; r == 0 && i < n; i += step)
		r = get_some(m, g, keys, i, MIN_OF(n - i, (size_t)step), opts);
	free(g->w);
	return r;
}

int mongo_get_many(struct store *s, enum coll c, const struct key *keys,
	size_t n, struct doc *ret, int *ret_err)
{
	struct get g = {
		.c = c, .ret = ret, .ret_err = ret_err, .fn = take_doc
	};
	bson_t *opts = BCON_NEW("batchSize", BCON_INT32(GET_KEYS));
	int r;

	memset(ret, 0, n * sizeof(*ret));
	if (ret_err)
		memset(ret_err, 0, n * sizeof(*ret_err));
	r = get_all(mongo_of(s), &g, keys, n, GET_KEYS, opts);
	for (size_t i = 0; r < 0 && i < n; i++)
		doc_fini(&ret[i]);
	bson_destroy(opts);
	return r;
}

int mongo_exists_many(struct store *s, enum coll c, const struct key *keys,
	size_t n, bool *ret)
{
	struct get g = { .c = c, .ret_exists = ret, .fn = take_key };
	/* answered from the index alone */
	bson_t *opts = BCON_NEW("projection", "{", "_id", BCON_INT32(1), "}",
		"batchSize", BCON_INT32(EXISTS_KEYS));
	int r;

	memset(ret, 0, n * sizeof(*ret));
	r = get_all(mongo_of(s), &g, keys, n, EXISTS_KEYS, opts);
	bson_destroy(opts);
	return r;
}

int mongo_heads(struct mongo *m, enum coll c, const struct key *keys, size_t n,
	struct mongo_row *ret)
{
	struct get g = { .c = c, .ret_heads = ret, .fn = take_head };
	bson_t *opts = BCON_NEW("projection", "{", "v", BCON_INT32(1), "g",
		BCON_INT32(1), "n", BCON_INT32(1), "by", BCON_INT32(1), "}",
		"batchSize", BCON_INT32(EXISTS_KEYS));
	int r;

	memset(ret, 0, n * sizeof(*ret));
	r = get_all(m, &g, keys, n, EXISTS_KEYS, opts);
	bson_destroy(opts);
	return r;
}

int mongo_head_many(struct store *s, enum coll c, const struct key *keys,
	size_t n, struct doc *ret)
{
	scoped(freep) struct mongo_row *rows = calloc(n + 1, sizeof(*rows));
	int r;

	if (!rows)
		return fail(ENOMEM, "%s: %m", coll_name(c));
	r = mongo_heads(mongo_of(s), c, keys, n, rows);
	for (size_t i = 0; r == 0 && i < n; i++)
		ret[i] = rows[i].doc;
	return r;
}

struct scan {
	enum coll c;
	bool keys, any, damaged;
	store_visit visit;
	void *arg;
	struct key last;
};

static int scan_row(void *arg, const bson_t *b)
{
	struct scan *s = arg;
	struct mongo_row row;
	int r = mongo_doc_decode(b, s->c, s->keys, &row);

	if (r == -EBADMSG && row.doc.key.len) {
		s->damaged = true;
		r = 0;
	} else if (r == 0) {
		r = s->visit(s->arg, &row.doc);
	}
	s->last = row.doc.key;
	s->any = true;
	return r;
}

static int first_len(void *arg, const bson_t *b)
{
	struct scan *s = arg;

	return mongo_doc_decode_key(b, s->c, &s->last);
}

/* How long the keys of content are: all alike. 0: there are none. */
static int key_len(struct mongo *m, enum coll c, unsigned *ret)
{
	struct scan s = { .c = c };
	bson_t *opts = BCON_NEW("projection", "{", "_id", BCON_INT32(1), "}",
		"limit", BCON_INT64(1));
	bson_t all = BSON_INITIALIZER;
	int r = query_again(m, c, &all, opts, first_len, &s);

	*ret = s.last.len;
	bson_destroy(opts);
	return r;
}

/* What remains to be visited: of PREFIX (or NULL), behind the last one. */
static void scan_filter(bson_t *filter, const struct scan *s,
	const struct key *prefix, unsigned flags, unsigned len)
{
	bool down = flags & SCAN_REVERSE;
	bson_t range;

	bson_init(filter);
	if (!prefix && !s->any)
		return;
	BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &range);
	if (prefix && !(s->any && !down))
		mongo_bound_append(&range, "$gte", s->c, prefix, false, len);
	if (prefix && !(s->any && down))
		mongo_bound_append(&range, "$lte", s->c, prefix, true, len);
	if (s->any)
		mongo_id_append(&range, down ? "$lt" : "$gt", s->c, &s->last);
	bson_append_document_end(filter, &range);
}

static void scan_opts(bson_t *opts, unsigned flags)
{
	bson_t *o = BCON_NEW("sort", "{", "_id",
		BCON_INT32(flags & SCAN_REVERSE ? -1 : 1), "}", "batchSize",
		BCON_INT32(flags & SCAN_KEYS ? 16 * BATCH_DOCS : BATCH_DOCS));

	bson_init(opts);
	bson_concat(opts, o);
	bson_destroy(o);
	if (flags & SCAN_KEYS) {
		o = BCON_NEW("projection", "{", "v", BCON_INT32(1), "g",
			BCON_INT32(1), "n", BCON_INT32(1), "}");
		bson_concat(opts, o);
		bson_destroy(o);
	}
}

int mongo_scan(struct store *s, enum coll c, const struct key *prefix,
	unsigned flags, store_visit visit, void *arg)
{
	struct mongo *m = mongo_of(s);
	struct scan scan = {
		.c = c, .keys = flags & SCAN_KEYS, .visit = visit, .arg = arg
	};
	struct mongo_try t = mongo_try(coll_name(c));
	bson_error_t e;
	bool broken;
	bson_t opts;
	unsigned len = 0;
	int r = prefix && mongo_is_content(c) ? key_len(m, c, &len) : 0;

	if (r < 0)
		return r;
	scan_opts(&opts, flags);
	do {
		struct key before = scan.last;
		bson_t filter;

		scan_filter(&filter, &scan, prefix, flags, len);
		r = query(m, c, &filter, &opts, scan_row, &scan, &e, &broken);
		bson_destroy(&filter);
		if (broken && !key_eq(&before, &scan.last))
			t = mongo_try(t.what); /* it gets on */
	} while (broken && mongo_again(m, &t, &e));
	bson_destroy(&opts);
	if (broken)
		return mongo_fail(m, &t, &e);
	return r == 0 && scan.damaged ? -EBADMSG : r;
}

/* Documents that a thread takes at once: while it visits them, others have the
 * next ones sent. */
#define WALK_DOCS 32u

/*
 * In the order the collection has, which is that of insertion: what a query
 * that asks for nothing gives. One cursor feeds all threads: taking a document
 * from it is a copy, visiting it is a hash.
 */
struct walk {
	struct mongo *m;
	enum coll c;
	store_walk_visit visit;
	void *arg;
	pthread_mutex_t lock;
	struct mongo_coll mc;    /* lock; and all below */
	mongoc_cursor_t *cursor; /* NULL: it is over */
	struct mongo_try try;
	int result; /* other than 0 ends it */
};

static void walk_begin(struct walk *w)
{
	bson_t *opts = BCON_NEW("batchSize", BCON_INT32(BATCH_DOCS));
	bson_t all = BSON_INITIALIZER;

	w->mc = mongo_take(w->m, coll_name(w->c));
	w->cursor = mongoc_collection_find_with_opts(w->mc.c, &all, opts, NULL);
	bson_destroy(opts);
}

static void walk_end(struct walk *w)
{
	mongoc_cursor_destroy(take(w->cursor));
	mongo_give(&w->mc);
}

/* The next ones, copied; none at the end. */
static int walk_next(struct walk *w, bson_t *ret[WALK_DOCS], unsigned *ret_n)
{
	const bson_t *b;
	bson_error_t e;
	int r = 0;

	*ret_n = 0;
	pthread_mutex_lock(&w->lock);
	while (r == 0 && w->result == 0 && w->cursor && *ret_n < WALK_DOCS) {
		if (mongoc_cursor_next(w->cursor, &b)) {
			ret[(*ret_n)++] = bson_copy(b);
			w->try = mongo_try(w->try.what);
		} else if (!mongoc_cursor_error(w->cursor, &e)) {
			walk_end(w);
		} else {
			walk_end(w);
			/* there is no going on in this order: once more */
			if (mongo_again(w->m, &w->try, &e))
				walk_begin(w);
			else
				r = mongo_fail(w->m, &w->try, &e);
		}
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

static int walk_visit(struct walk *w, const bson_t *b, unsigned thread)
{
	struct mongo_row row;
	int r = mongo_doc_decode(b, w->c, false, &row);

	if (r == -EBADMSG)
		row.doc.body = NULL;
	return row.doc.key.len ? w->visit(w->arg, &row.doc, r, thread) : r;
}

static int walk_thread(void *arg, uint64_t i, unsigned thread)
{
	struct walk *w = arg;
	bson_t *docs[WALK_DOCS];
	unsigned n;
	int r;

	(void)i;
	do {
		r = walk_next(w, docs, &n);
		for (unsigned d = 0; d < n; d++) {
			if (r == 0)
				r = walk_visit(w, docs[d], thread);
			bson_destroy(docs[d]);
		}
	} while (r == 0 && n);
	pthread_mutex_lock(&w->lock);
	if (r != 0 && w->result == 0)
		w->result = r;
	pthread_mutex_unlock(&w->lock);
	return 0;
}

int mongo_walk(struct store *s, enum coll c, unsigned n_threads,
	store_walk_visit visit, void *arg)
{
	struct walk w = { .m = mongo_of(s),
		.c = c,
		.visit = visit,
		.arg = arg,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.try = mongo_try(coll_name(c)) };
	int r;

	walk_begin(&w);
	r = parallel_for(n_threads, n_threads, walk_thread, &w);
	if (w.cursor)
		walk_end(&w);
	pthread_mutex_destroy(&w.lock);
	return r < 0 ? r : w.result;
}

struct count {
	enum coll c;
	struct store_count sum;
};

static int count_row(void *arg, const bson_t *b)
{
	struct count *count = arg;
	struct mongo_row row;
	int r = mongo_doc_decode(b, count->c, true, &row);

	if (r == 0)
		store_count_add(&count->sum, &row.doc);
	return r;
}

/*
 * A server keeps no count that one could trust. So it is the collection read
 * by itself, where a scan goes by its index: what one of them misses shows.
 */
int mongo_count(struct store *s, enum coll c, struct store_count *ret)
{
	bson_t *opts = BCON_NEW("batchSize", BCON_INT32(16 * BATCH_DOCS),
		"projection", "{", "v", BCON_INT32(1), "g", BCON_INT32(1), "n",
		BCON_INT32(1), "}");
	struct mongo *m = mongo_of(s);
	struct mongo_try t = mongo_try(coll_name(c));
	bson_t all = BSON_INITIALIZER;
	struct count count;
	bson_error_t e;
	bool broken;
	int r;

	do {
		count = (struct count){ .c = c };
		r = query(m, c, &all, opts, count_row, &count, &e, &broken);
	} while (broken && mongo_again(m, &t, &e));
	bson_destroy(opts);
	if (broken)
		return mongo_fail(m, &t, &e);
	if (r == 0)
		*ret = count.sum;
	return r;
}
