/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "src/blk_nbd.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libnbd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "src/bytes.h"
#include "src/extent_list.h"
#include "src/log.h"
#include "src/qemu_nbd.h"

#define MAX_CONNS 4
/* what a server that names no limit takes; the specification's default */
#define MAX_READ (32U << 20)
/* the most that 32 bits hold, aligned for every block size there may be */
#define MAX_STATUS 0xffff0000U
#define READY_STEP_MS 2
#define READY_LIMIT_MS 60000

struct watched {
	char *path;
	struct stat then;
};

struct nbd {
	struct blk blk;        /* must come first */
	struct qemu_nbd *qemu; /* NULL: the server is someone else's */
	uint32_t min_block, max_read;
	bool has_status;
	struct vec(struct watched) files;

	/* a connection belongs to who set its flag; idle counts the others */
	struct nbd_handle *conn[MAX_CONNS];
	unsigned n_conns;
	atomic_bool taken[MAX_CONNS];
	sem_t idle;

	pthread_mutex_t lock;
	struct extent_list known; /* lock */
};

static struct nbd *nbd_of(struct blk *b)
{
	return (struct nbd *)b;
}

static unsigned conn_take(struct nbd *n)
{
	unsigned i = 0;

	while (sem_wait(&n->idle) != 0)
		;
	while (atomic_exchange(&n->taken[i], true))
		i = (i + 1) % n->n_conns;
	return i;
}

static void conn_give(struct nbd *n, unsigned i)
{
	atomic_store(&n->taken[i], false);
	sem_post(&n->idle);
}

static int read_blocks(struct nbd *n, void *buf, size_t len, uint64_t off)
{
	unsigned i = conn_take(n);
	int r = 0;

	if (nbd_pread(n->conn[i], buf, len, off, 0) != 0)
		r = fail(EIO, "%s: offset %" PRIu64 ": %s", n->blk.name, off,
			nbd_get_error());
	conn_give(n, i);
	return r;
}

/* Of one block of the server's, the LEN bytes after the first SKIP. */
static int read_part(
	struct nbd *n, void *buf, size_t skip, size_t len, uint64_t block)
{
	scoped(freep) unsigned char *whole = malloc(n->min_block);
	int r;

	if (!whole)
		return fail(ENOMEM, "%s: read: %m", n->blk.name);
	r = read_blocks(n, whole, n->min_block, block);
	if (r == 0)
		memcpy(buf, whole + skip, len);
	return r;
}

static int nbd_blk_pread(struct blk *b, void *buf, size_t len, uint64_t off)
{
	struct nbd *n = nbd_of(b);
	unsigned char *p = buf;

	while (len > 0) {
		size_t skip = off % n->min_block;
		size_t step;
		int r;

		if (skip || len < n->min_block) {
			step = MIN_OF(len, n->min_block - skip);
			r = read_part(n, p, skip, step, off - skip);
		} else {
			step = MIN_OF(
				len - len % n->min_block, (size_t)n->max_read);
			r = read_blocks(n, p, step, off);
		}
		if (r < 0)
			return r;
		p += step;
		off += step;
		len -= step;
	}
	return 0;
}

/* libnbd calls it with one reply's pairs of length and flags */
static int on_status(void *arg, const char *context, uint64_t off,
	uint32_t *entries, size_t n_entries, int *error)
{
	struct extent_list *l = arg;

	(void)off;
	if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0)
		return 0;
	for (size_t i = 0; i + 1 < n_entries && entries[i] > 0; i += 2) {
		bool zero = entries[i + 1] & LIBNBD_STATE_ZERO;

		if (extent_list_add(l, entries[i], zero ? BLK_ZERO : BLK_DATA) <
			0) {
			*error = ENOMEM;
			return -1;
		}
	}
	return 0;
}

/* Asks for as much as one reply can tell, from OFF on. */
static int ask_status(struct nbd *n, uint64_t off, struct extent_list *l)
{
	nbd_extent_callback cb = { .callback = on_status, .user_data = l };
	uint64_t len;
	unsigned i;
	int r = 0;

	l->start = round_down(off, n->min_block);
	len = MIN_OF(n->blk.size - l->start, (uint64_t)MAX_STATUS);
	i = conn_take(n);
	if (nbd_block_status(n->conn[i], len, l->start, cb, 0) != 0)
		r = fail(EIO, "%s: offset %" PRIu64 ": %s", n->blk.name, off,
			nbd_get_error());
	conn_give(n, i);
	return r;
}

static int nbd_blk_extent(
	struct blk *b, uint64_t off, uint64_t len, struct blk_extent *ret)
{
	struct nbd *n = nbd_of(b);
	struct extent_list fresh = { 0 };
	struct extent_list old;
	bool found;
	int r;

	*ret = (struct blk_extent){ .len = len, .kind = BLK_DATA };
	if (!n->has_status)
		return 0;
	pthread_mutex_lock(&n->lock);
	found = extent_list_find(&n->known, off, len, ret);
	pthread_mutex_unlock(&n->lock);
	if (found)
		return 0;
	r = ask_status(n, off, &fresh);
	if (r == 0 && !extent_list_find(&fresh, off, len, ret))
		r = fail(EIO,
			"%s: offset %" PRIu64 ": the server's block status "
			"says nothing of it",
			b->name, off);
	if (r == 0) {
		pthread_mutex_lock(&n->lock);
		old = n->known;
		n->known = fresh;
		fresh = old;
		pthread_mutex_unlock(&n->lock);
	}
	extent_list_fini(&fresh);
	return r;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static int nbd_blk_changed(struct blk *b)
{
	struct nbd *n = nbd_of(b);
	struct stat st;
	unsigned i = conn_take(n);
	/* 0 ms: takes notice of a connection that was closed meanwhile */
	bool lost = nbd_poll(n->conn[i], 0) < 0 ||
		    nbd_aio_is_dead(n->conn[i]) != 0 ||
		    nbd_aio_is_closed(n->conn[i]) != 0;

	conn_give(n, i);
	for (size_t f = 0; f < n->files.n && !lost; f++)
		lost = stat(n->files.v[f].path, &st) != 0 ||
		       !same_file(&st, &n->files.v[f].then);
	return lost;
}

static void nbd_blk_close(struct blk *b)
{
	struct nbd *n = nbd_of(b);

	/* no goodbye: a server that hangs would keep us waiting for its own */
	for (unsigned i = 0; i < n->n_conns; i++)
		nbd_close(n->conn[i]);
	if (n->qemu)
		qemu_nbd_stop(n->qemu);
	for (size_t i = 0; i < n->files.n; i++)
		free(n->files.v[i].path);
	vec_fini(&n->files);
	extent_list_fini(&n->known);
	pthread_mutex_destroy(&n->lock);
	sem_destroy(&n->idle);
	free(b->name);
	free(n);
}

static const struct blk_ops nbd_ops = {
	.pread = nbd_blk_pread,
	.extent = nbd_blk_extent,
	.changed = nbd_blk_changed,
	.close = nbd_blk_close,
};

static int new_blk(const char *name, struct nbd **ret)
{
	struct nbd *n = calloc(1, sizeof(*n));

	if (!n)
		return fail(ENOMEM, "%s: %m", name);
	n->blk.ops = &nbd_ops;
	n->blk.sector_size = 512;
	sem_init(&n->idle, 0, 0);
	pthread_mutex_init(&n->lock, NULL);
	n->blk.name = strdup(name);
	if (!n->blk.name) {
		nbd_blk_close(&n->blk);
		return fail(ENOMEM, "%s: %m", name);
	}
	*ret = n;
	return 0;
}

/* A host that vanished is noticed after about a minute, not after hours. */
static void keep_alive(struct nbd_handle *h)
{
	const int on = 1, idle = 20, interval = 10, probes = 4;
	const unsigned unacked_ms = 60000;
	int fd = nbd_aio_get_fd(h);

	/* those of TCP fail on a unix socket, which needs none */
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms,
		sizeof(unacked_ms));
}

enum address { AT_URI, AT_SOCKET };

/* Quiet: false leaves the reason in nbd_get_error(). */
static bool connect_one(struct nbd *n, enum address at, const char *where)
{
	struct nbd_handle *h = nbd_create();

	if (!h)
		return false;
	if (nbd_add_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0 ||
		(at == AT_URI ? nbd_connect_uri(h, where)
			      : nbd_connect_unix(h, where)) != 0) {
		nbd_close(h);
		return false;
	}
	keep_alive(h);
	n->conn[n->n_conns++] = h;
	sem_post(&n->idle);
	return true;
}

/* What the first connection tells of the export. */
static int look_at_export(struct nbd *n)
{
	struct nbd_handle *h = n->conn[0];
	int64_t size = nbd_get_size(h);
	int64_t min = nbd_get_block_size(h, LIBNBD_SIZE_MINIMUM);
	int64_t max = nbd_get_block_size(h, LIBNBD_SIZE_MAXIMUM);
	int status = nbd_can_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION);

	if (size < 0 || min < 0 || max < 0 || status < 0)
		return fail(EIO, "%s: %s", n->blk.name, nbd_get_error());
	/* told nothing, 512 is what every server can do */
	if (min == 0)
		min = size % 512 ? 1 : 512;
	max = max ? MIN_OF(max, (int64_t)MAX_READ) : MAX_READ;
	if (min > 65536 || (min & (min - 1)) || max < min)
		return fail(EIO,
			"%s: a server with blocks of %" PRId64 " to %" PRId64
			" bytes",
			n->blk.name, min, max);
	if (size % min)
		return fail(EINVAL,
			"%s: its size, %" PRId64 " bytes, is no multiple of "
			"its server's blocks of %" PRId64,
			n->blk.name, size, min);
	n->blk.size = (uint64_t)size;
	n->min_block = (uint32_t)min;
	n->max_read = (uint32_t)(max - max % min);
	n->has_status = status;
	return 0;
}

/* The others are for speed: one that is refused is done without. */
static int connect_more(struct nbd *n, enum address at, const char *where)
{
	int multi = nbd_can_multi_conn(n->conn[0]);

	if (multi < 0)
		return fail(EIO, "%s: %s", n->blk.name, nbd_get_error());
	while (multi && n->n_conns < MAX_CONNS && connect_one(n, at, where))
		;
	log_debug("nbd", "%s: %u connections, blocks of %u", n->blk.name,
		n->n_conns, n->min_block);
	return 0;
}

int blk_nbd_open(const char *uri, struct blk **ret)
{
	struct nbd *n = NULL;
	int r = new_blk(uri, &n);

	if (r < 0)
		return r;
	if (!connect_one(n, AT_URI, uri)) {
		int err = nbd_get_errno();

		r = fail(err ? err : EIO, "%s: %s", uri, nbd_get_error());
	}
	if (r == 0)
		r = look_at_export(n);
	if (r == 0)
		r = connect_more(n, AT_URI, uri);
	if (r < 0) {
		nbd_blk_close(&n->blk);
		return r;
	}
	*ret = &n->blk;
	return 0;
}

/* As soon as it listens; as long as it lives. */
static int connect_to_child(struct nbd *n)
{
	const struct timespec step = { .tv_nsec = READY_STEP_MS * 1000000L };

	for (unsigned ms = 0;; ms += READY_STEP_MS) {
		if (connect_one(n, AT_SOCKET, qemu_nbd_socket(n->qemu)))
			return 0;
		if (qemu_nbd_ended(n->qemu))
			return qemu_nbd_failed(n->qemu);
		if (ms >= READY_LIMIT_MS)
			return fail(EIO, "%s: qemu-nbd: %s", n->blk.name,
				nbd_get_error());
		nanosleep(&step, NULL);
	}
}

int blk_nbd_spawn(const char *image_opts, const char *name, struct blk **ret)
{
	struct nbd *n = NULL;
	int r = new_blk(name, &n);

	if (r < 0)
		return r;
	r = qemu_nbd_start(image_opts, name, &n->qemu);
	if (r == 0)
		r = connect_to_child(n);
	if (r == 0)
		r = look_at_export(n);
	if (r == 0)
		r = connect_more(n, AT_SOCKET, qemu_nbd_socket(n->qemu));
	if (r < 0) {
		nbd_blk_close(&n->blk);
		return r;
	}
	/* so that nothing is left of it should we be killed */
	qemu_nbd_hide(n->qemu);
	*ret = &n->blk;
	return 0;
}

int blk_nbd_watch(struct blk *b, const char *path)
{
	struct nbd *n = nbd_of(b);
	struct watched w = { .path = strdup(path) };

	assert(b->ops == &nbd_ops);
	if (!w.path || vec_add(&n->files, w) < 0) {
		free(w.path);
		return fail(ENOMEM, "%s: %m", path);
	}
	if (stat(path, &n->files.v[n->files.n - 1].then) != 0)
		return fail(errno, "%s: stat: %m", path);
	return 0;
}
