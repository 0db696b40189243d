/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "repo/stream_tail.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "src/bytes.h"
#include "src/log.h"

#define SMALL (64u << 10)

int stream_tail_init(
	struct stream_tail *t, struct stream_set *set, uint64_t next)
{
	uint32_t number = set->files.v[set->files.n - 1]->number;
	int r;

	*t = (struct stream_tail){ .set = set, .next = next, .synced = next };
	t->hash = XXH3_createState();
	if (!t->hash)
		return fail(ENOMEM, "%s: %m", set->dir->path);
	r = stream_set_get(set, number, &t->last);
	if (r < 0) {
		XXH3_freeState(t->hash);
		return r;
	}
	t->seed = stream_seed(&set->dir->id, set->dir->salt, number);
	t->end = t->zeroed = t->flushing = t->last->end;
	pthread_mutex_init(&t->turn, NULL);
	pthread_mutex_init(&t->sync, NULL);
	return 0;
}

void stream_tail_fini(struct stream_tail *t)
{
	stream_set_put(t->set, t->last);
	XXH3_freeState(t->hash);
	pthread_mutex_destroy(&t->turn);
	pthread_mutex_destroy(&t->sync);
}

static int fail_for_good(struct stream_tail *t, int err)
{
	if (!atomic_exchange(&t->failed, true))
		fail(err, "%s: sync: %m; it cannot be written to any more",
			t->set->dir->path);
	return -EIO;
}

/* sync held. */
static int sync_last(struct stream_tail *t)
{
	uint64_t next = t->next;

	if (t->failed)
		return -EIO;
	if (fdatasync(t->last->fd) != 0)
		return fail_for_good(t, errno);
	t->synced = next;
	return 0;
}

int stream_tail_sync(struct stream_tail *t)
{
	uint64_t next = t->next;
	int r = 0;

	pthread_mutex_lock(&t->sync);
	/* one that began while we waited may have been ours, too */
	if (t->failed)
		r = -EIO;
	else if (t->synced < next)
		r = sync_last(t);
	pthread_mutex_unlock(&t->sync);
	return r;
}

/*
 * Appending 512 MiB in records of 1 MiB with one sync at the end is 1.13 to
 * 1.18 of the rate of write and fsync of a plain file when this is called now
 * and then, else 0.77 (medians of 6, ext4).
 */
void stream_tail_flush(struct stream_tail *t)
{
	uint64_t end;

	pthread_mutex_lock(&t->sync);
	end = stream_set_end_of(t->set, t->last);
	if (end > t->flushing)
		(void)sync_file_range(t->last->fd, (off_t)t->flushing,
			(off_t)(end - t->flushing), SYNC_FILE_RANGE_WRITE);
	t->flushing = end;
	pthread_mutex_unlock(&t->sync);
}

/* Both locks held, all is synced. */
static int next_file(struct stream_tail *t)
{
	uint32_t number = t->last->number + 1;
	struct stream_file *f;
	bool there;
	int fd, r;

	if (t->last->number >= STREAM_FILES_MAX)
		return fail(EIO, "%s: is used up", t->set->dir->path);
	r = stream_dir_add_file(t->set->dir, number, t->next, &there, &fd);
	if (r == 0)
		r = stream_set_add(t->set, number, t->next, fd);
	if (r == 0)
		r = stream_set_get(t->set, number, &f);
	/* what went on in the old file would belong behind the new one */
	if (r != 0)
		return there ? fail_for_good(t, -r) : r;
	stream_set_put(t->set, t->last);
	t->last = f;
	t->seed = stream_seed(&t->set->dir->id, t->set->dir->salt, number);
	t->end = t->zeroed = t->flushing = STREAM_FILE_HEADER;
	return 0;
}

/* turn held. Only the last file may hold what is not synced. */
static int roll(struct stream_tail *t)
{
	int r = 0;

	pthread_mutex_lock(&t->sync);
	if (t->zeroed > t->end) {
		if (ftruncate(t->last->fd, (off_t)t->end) != 0)
			r = fail_for_good(t, errno);
		else
			t->zeroed = t->end;
	}
	if (r == 0)
		r = sync_last(t);
	if (r == 0)
		r = next_file(t);
	pthread_mutex_unlock(&t->sync);
	return r;
}

int stream_tail_roll(struct stream_tail *t, uint64_t seq, uint64_t min)
{
	int r = 0;

	pthread_mutex_lock(&t->turn);
	if (t->next <= seq && t->end - STREAM_FILE_HEADER >= min)
		r = roll(t);
	pthread_mutex_unlock(&t->turn);
	return r;
}

static uint64_t payload_sum(
	struct stream_tail *t, const struct iovec *iov, int n_iov)
{
	if (n_iov == 1)
		return XXH3_64bits(iov->iov_base, iov->iov_len);
	XXH3_64bits_reset(t->hash);
	for (int i = 0; i < n_iov; i++)
		XXH3_64bits_update(t->hash, iov[i].iov_base, iov[i].iov_len);
	return XXH3_64bits_digest(t->hash);
}

/*
 * An fdatasync of a file that grew commits its new size and blocks to a
 * journal; one of bytes that were there before only writes them: 0.58 of the
 * rate of overwriting against 1.0 (ext4, 4 KiB, medians). So a small record
 * that would make the file grow brings zeroes along for those that follow. 64
 * KiB to 4 MiB of them made no difference. Where nothing is synced it pays,
 * too: a page of the cache for all of them is made once, and 4 KiB take 1.9 us
 * to append instead of 3.6; with 1 MiB it is 3.3.
 */
static size_t ahead(const struct stream_tail *t, uint64_t len, uint32_t payload)
{
	uint64_t end = t->end + len;
	uint64_t to =
		MIN_OF(round_up(end, STREAM_AHEAD), (uint64_t)stream_file_max);

	if (payload > SMALL || end <= t->zeroed || to <= end)
		return 0;
	return (size_t)(to - end);
}

/* Gathers the record whose header is HEAD; returns the number of pieces. */
static int gather(struct stream_tail *t, uint8_t *head, const struct iovec *iov,
	int n_iov, uint64_t pad)
{
	static uint8_t zeroes[STREAM_AHEAD_STEP]; /* never written to */
	int n = 0;

	t->iov[n++] = (struct iovec){ head, STREAM_RECORD_HEADER };
	for (int i = 0; i < n_iov; i++)
		t->iov[n++] = iov[i];
	while (pad > 0) {
		size_t len = MIN_OF(pad, (uint64_t)sizeof(zeroes));

		t->iov[n++] = (struct iovec){ zeroes, len };
		pad -= len;
	}
	return n;
}

/* Writes N pieces at the end; what was written, and why no more. */
static uint64_t write_pieces(struct stream_tail *t, int n, int *ret_err)
{
	struct iovec *iov = t->iov;
	uint64_t done = 0;

	*ret_err = 0;
	while (n > 0) {
		ssize_t k =
			pwritev(t->last->fd, iov, n, (off_t)(t->end + done));

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			*ret_err = k < 0 ? errno : EIO;
			break;
		}
		done += (uint64_t)k;
		for (; n > 0 && (size_t)k >= iov->iov_len; iov++, n--)
			k -= (ssize_t)iov->iov_len;
		if (n > 0) {
			iov->iov_base = (uint8_t *)iov->iov_base + k;
			iov->iov_len -= (size_t)k;
		}
	}
	return done;
}

/*
 * The first DONE bytes of a record are there and the others are not. They are
 * cut off. Should power loss bring them back, all or some, or mix them with
 * those of the record that took their place: a header vouches for its own
 * payload only, and behind that record there are zeroes, nothing, or a piece of
 * the payload that was refused, in which no header passes without the salt.
 */
static int undo(struct stream_tail *t, uint64_t done, int err)
{
	if (done > 0) {
		if (ftruncate(t->last->fd, (off_t)t->end) != 0)
			return fail_for_good(t, errno);
		t->zeroed = t->end;
	}
	if (err == ENOSPC || err == EDQUOT)
		return -ENOSPC;
	return fail(err, "%s: write: %m", t->set->dir->path);
}

/* turn held; there is room in the last file. */
static int append(struct stream_tail *t, struct stream_record *rec,
	const struct iovec *iov, int n_iov)
{
	uint64_t len = stream_record_len(rec->len), done;
	uint64_t more = ahead(t, len, rec->len);
	uint8_t head[STREAM_RECORD_HEADER];
	int err;

	stream_record_encode(rec, t->seed, t->end, head);
	done = write_pieces(t,
		gather(t, head, iov, n_iov,
			len - sizeof(head) - rec->len + more),
		&err);
	if (done < len)
		return undo(t, done, err);
	t->zeroed = MAX_OF(t->zeroed, t->end + done);
	t->end += len;
	stream_set_end(t->set, t->last, t->end);
	t->next = stream_record_next(rec);
	return 0;
}

static int append_turn(struct stream_tail *t, enum stream_kind kind,
	const struct iovec *iov, int n_iov, uint32_t len, uint64_t *ret_seq,
	uint64_t *ret_place)
{
	struct stream_record rec = {
		.kind = kind, .len = len, .seq = t->next, .synced = t->synced
	};
	struct timespec now;
	uint64_t place;
	int r = 0;

	if (t->failed)
		return -EIO;
	if ((rec.seq & STREAM_NUMBER_MAX) == STREAM_NUMBER_MAX)
		return fail(EIO, "%s: is used up", t->set->dir->path);
	if (t->end > STREAM_FILE_HEADER &&
		t->end + stream_record_len(len) > stream_file_max) {
		r = roll(t);
		rec.synced = t->synced;
	}
	if (r < 0)
		return r;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	rec.time = now.tv_sec;
	rec.sum = payload_sum(t, iov, n_iov);
	place = (uint64_t)t->last->number << 32 |
		(t->end + STREAM_RECORD_HEADER);
	r = append(t, &rec, iov, n_iov);
	if (r < 0)
		return r;
	*ret_seq = rec.seq;
	*ret_place = place;
	return 0;
}

int stream_tail_append(struct stream_tail *t, enum stream_kind kind,
	const struct iovec *iov, int n_iov, uint32_t len, uint64_t *ret_seq,
	uint64_t *ret_place)
{
	int r;

	assert(n_iov <= STREAM_IOVS);
	pthread_mutex_lock(&t->turn);
	r = append_turn(t, kind, iov, n_iov, len, ret_seq, ret_place);
	pthread_mutex_unlock(&t->turn);
	return r;
}
