/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/stream_set.h"

#include <fcntl.h>

#include "src/log.h"

/* of a stream: 1 GiB, which readers go back and forth in */
#define MAX_OPEN 16

void stream_set_init(
	struct stream_set *s, const struct stream_dir *dir, bool writable)
{
	*s = (struct stream_set){ .dir = dir, .writable = writable };
	pthread_mutex_init(&s->lock, NULL);
}

static void file_free(struct stream_file *f)
{
	closep(&f->fd);
	free(f);
}

void stream_set_fini(struct stream_set *s)
{
	for (size_t i = 0; i < s->files.n; i++)
		file_free(s->files.v[i]);
	vec_fini(&s->files);
	pthread_mutex_destroy(&s->lock);
}

/* Lock held. Those above the limit that nobody is at, the longest unused first.
 */
static void close_some(struct stream_set *s)
{
	while (s->n_open > MAX_OPEN) {
		struct stream_file *oldest = NULL;

		for (size_t i = 0; i < s->files.n; i++) {
			struct stream_file *f = s->files.v[i];

			if (f->fd >= 0 && f->users == 0 &&
				(!oldest || f->used < oldest->used))
				oldest = f;
		}
		if (!oldest)
			return;
		close(oldest->fd);
		oldest->fd = -1;
		s->n_open--;
	}
}

int stream_set_add(
	struct stream_set *s, uint32_t number, uint64_t first, int fd)
{
	struct stream_file *f = malloc(sizeof(*f));
	int r = -ENOMEM;

	pthread_mutex_lock(&s->lock);
	if (f) /* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers */
		r = vec_add(&s->files, f);
	if (r == 0) {
		*f = (struct stream_file){ .number = number,
			.first = first,
			.fd = fd,
			.end = STREAM_FILE_HEADER,
			.used = ++s->clock };
		s->bytes += f->end;
		s->n_open += fd >= 0;
		close_some(s);
	}
	pthread_mutex_unlock(&s->lock);
	if (r == 0)
		return 0;
	free(f);
	closep(&fd);
	return fail(ENOMEM, "%s: %m", s->dir->path);
}

/* Lock held. */
static struct stream_file *find(struct stream_set *s, uint32_t number)
{
	/* most of what is read was written a moment ago */
	for (size_t i = s->files.n; i-- > 0;)
		if (s->files.v[i]->number == number)
			return s->files.v[i];
	return NULL;
}

int stream_set_get(
	struct stream_set *s, uint32_t number, struct stream_file **ret)
{
	struct stream_file *f;
	bool open = false;
	int fd = -1, r = 0;

	pthread_mutex_lock(&s->lock);
	f = find(s, number);
	if (f) {
		f->users++;
		f->used = ++s->clock;
		open = f->fd >= 0;
	}
	pthread_mutex_unlock(&s->lock);
	if (!f)
		return -ENOENT;
	if (!open)
		r = stream_dir_open_file(
			s->dir, number, s->writable ? O_RDWR : O_RDONLY, &fd);
	if (r < 0) {
		stream_set_put(s, f);
		return r;
	}
	if (fd >= 0) {
		pthread_mutex_lock(&s->lock);
		if (f->fd < 0) {
			f->fd = take_fd(fd);
			s->n_open++;
			close_some(s);
		}
		pthread_mutex_unlock(&s->lock);
		closep(&fd);
	}
	*ret = f;
	return 0;
}

void stream_set_put(struct stream_set *s, struct stream_file *f)
{
	bool last;

	pthread_mutex_lock(&s->lock);
	last = --f->users == 0 && f->gone;
	if (last && f->fd >= 0)
		s->n_open--;
	pthread_mutex_unlock(&s->lock);
	if (last)
		file_free(f);
}

void stream_set_end(struct stream_set *s, struct stream_file *f, uint64_t end)
{
	pthread_mutex_lock(&s->lock);
	s->bytes += end - f->end;
	f->end = end;
	pthread_mutex_unlock(&s->lock);
}

uint64_t stream_set_end_of(struct stream_set *s, const struct stream_file *f)
{
	uint64_t end;

	pthread_mutex_lock(&s->lock);
	end = f->end;
	pthread_mutex_unlock(&s->lock);
	return end;
}

uint64_t stream_set_bytes(struct stream_set *s)
{
	uint64_t bytes;

	pthread_mutex_lock(&s->lock);
	bytes = s->bytes;
	pthread_mutex_unlock(&s->lock);
	return bytes;
}

uint32_t stream_set_trim(struct stream_set *s, uint64_t seq)
{
	struct stream_file *f = NULL;
	uint32_t number = 0;

	pthread_mutex_lock(&s->lock);
	if (s->files.n > 1 && s->files.v[1]->first <= seq) {
		f = s->files.v[0];
		for (size_t i = 1; i < s->files.n; i++)
			s->files.v[i - 1] = s->files.v[i];
		s->files.n--;
		s->bytes -= f->end;
		number = f->number;
		f->gone = true;
		if (f->users == 0 && f->fd >= 0)
			s->n_open--;
		if (f->users > 0)
			f = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	if (f)
		file_free(f);
	return number;
}
