/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/mount.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "fs/daemon.h"
#include "fs/fs.h"
#include "fs/json.h"
#include "fs/mountpoint.h"
#include "fs/ops.h"
#include "fs/options.h"
#include "fs/tidy.h"
#include "repo/location.h"
#include "src/exit.h"
#include "src/log.h"
#include "src/log_many.h"
#include "src/url.h"

#define READAHEAD (1u << 20)

/*
 * Requests answered at a time. Threads that are idle stay: to keep one and make
 * the others anew costs four times the processor time for each 4 KiB read of 8
 * readers. A descriptor for each of them (clone_fd) gained nothing measurable.
 */
#define THREADS_MAX 16u

/*
 * And these more where there may be writers: those of one disk take turns, and
 * wait where folding is behind. As many as the kernel lets wait must not keep
 * readers out.
 */
#define WRITERS_MAX 64u

/*
 * Documents are read into memory of some 2 MiB at a time, which malloc() would
 * give back and take again, to be cleared anew: 3 % of a cold read.
 */
#define MALLOC_KEEP (16 << 20)

struct mount {
	struct mount_options options;
	char *url;  /* owned */
	char *path; /* owned; where it is mounted */
	struct daemon daemon;
	struct fuse_session *session;
	atomic_bool served;
};

/* That of this process, until it is served. */
static _Atomic(struct fuse_session *) beginning;

/*
 * The kernel asks once whether a file system is there. Where libfuse has to
 * refuse that, as without memory, it would wait for good for what never comes.
 */
__attribute__((format(printf, 2, 0))) static void log_fuse(
	enum fuse_log_level level, const char *fmt, va_list ap)
{
	struct fuse_session *session = atomic_load(&beginning);
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = 0;
	if (level > FUSE_LOG_ERR) {
		log_info("%s", text);
		return;
	}
	log_error("%s", text);
	if (session)
		fuse_session_exit(session);
}

/* With --json, what the command has to say. */
static void say_mounted(const struct mount *m)
{
	scoped(freep) char *url = url_public(m->url);
	json_t *o = json_object();

	json_add_text(o, "type", "summary");
	json_add_text(o, "verb", "mount");
	json_add_text(o, "repository", url ? url : "");
	json_add_text(o, "mountpoint", m->path);
	json_object_set_new(o, "read_only", json_boolean(m->options.read_only));
	json_dumpf(o, stdout, JSON_COMPACT);
	json_decref(o);
	putchar('\n');
	fflush(stdout);
}

static void ready(void *arg)
{
	struct mount *m = arg;

	if (m->options.json)
		say_mounted(m);
	mountpoint_readahead(m->path, READAHEAD);
	atomic_store(&m->served, true);
	atomic_store(&beginning, NULL);
	if (!daemon_ready(&m->daemon))
		fuse_session_exit(m->session);
}

/* "-o ..." for libfuse; owned. */
static char *fuse_options(const struct mount *m)
{
	scoped(freep) char *url = url_public(m->url);
	scoped(freep) char *fsname = NULL;
	char *opts = NULL;
	const char *name = m->options.fsname ? m->options.fsname : url;

	if (!url || asprintf(&fsname, "fsname=%s", name) < 0) {
		fsname = NULL;
		return NULL;
	}
	if (fuse_opt_add_opt(&opts, "default_permissions,subtype=hivefs") < 0 ||
		(m->options.read_only && fuse_opt_add_opt(&opts, "ro") < 0) ||
		fuse_opt_add_opt_escaped(&opts, fsname) < 0 ||
		(m->options.fuse &&
			fuse_opt_add_opt(&opts, m->options.fuse) < 0)) {
		free(opts);
		return NULL;
	}
	return opts;
}

static int session_new(struct mount *m, struct fs *fs)
{
	scoped(freep) char *opts = fuse_options(m);
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);

	if (!opts || fuse_opt_add_arg(&args, "hivefs") < 0 ||
		fuse_opt_add_arg(&args, "-o") < 0 ||
		fuse_opt_add_arg(&args, opts) < 0 ||
		(m->options.debug && fuse_opt_add_arg(&args, "-d") < 0)) {
		fuse_opt_free_args(&args);
		return fail(ENOMEM, "fuse: %m");
	}
	m->session = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), fs);
	fuse_opt_free_args(&args);
	/* libfuse has said what it does not like */
	return m->session ? 0 : -EIO;
}

/* Serves until it is unmounted or told to end. */
static int loop(struct mount *m)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int r;

	if (!config)
		return fail(ENOMEM, "fuse: %m");
	fuse_loop_cfg_set_max_threads(
		config, THREADS_MAX + (m->options.read_only ? 0 : WRITERS_MAX));
	fuse_loop_cfg_set_idle_threads(config, THREADS_MAX);
	atomic_store(&beginning, m->session);
	r = fuse_session_loop_mt(m->session, config);
	atomic_store(&beginning, NULL);
	fuse_loop_cfg_destroy(config);
	if (!atomic_load(&m->served) && r >= 0)
		return fail(EIO, "mountpoint %s: ended before it was served",
			m->path);
	/* the number of a signal: told to end, and did */
	return r > 0 ? 0 : r;
}

static int serve_session(struct mount *m, const sigset_t *signals)
{
	int r = 0;

	if (fuse_set_signal_handlers(m->session) < 0)
		return -EIO;
	if (fuse_session_mount(m->session, m->path) < 0) {
		r = -EIO;
	} else {
		pthread_sigmask(SIG_UNBLOCK, signals, NULL);
		r = loop(m);
		fuse_session_unmount(m->session);
	}
	fuse_remove_signal_handlers(m->session);
	return r;
}

/* Who may not write to it, or cannot, can still read it all. */
static int open_repo(struct mount *m, struct repo **ret)
{
	const char *dir = url_directory(m->url);
	int r, why = 0;

	if (!m->options.read_only && dir && access(dir, W_OK) < 0 &&
		(errno == EROFS || errno == EACCES)) {
		why = errno;
		m->options.read_only = true;
	}
	r = repo_open(m->url,
		(m->options.read_only ? STORE_READ_ONLY : 0) |
			(m->options.takeover ? STORE_TAKEOVER : 0),
		ret);
	if (r == 0 && why) {
		errno = why;
		log_warn("%s: %m: mounted read-only", dir);
	}
	return r;
}

static int serve(struct mount *m)
{
	scoped(repo_closep) struct repo *repo = NULL;
	sigset_t signals;
	struct tidy tidy;
	struct fs fs;
	int r;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): before threads */
	mallopt(M_MMAP_THRESHOLD, MALLOC_KEEP);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): before threads */
	mallopt(M_TRIM_THRESHOLD, MALLOC_KEEP);
	/* for the main thread alone: the others leave them to it */
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);

	r = open_repo(m, &repo);
	if (r < 0)
		return r;
	r = fs_init(&fs, repo, m->options.cache, m->path);
	if (r < 0)
		return r;
	fs.tree.read_only = m->options.read_only;
	fs.tree.unshown = ~m->options.formats;
	fs.tree.full_blocks = m->options.full_blocks;
	fs.tree.style.vmfs = m->options.vmfs;
	fs.branches.many_writers = m->options.many_writers;
	fs.tree.uid = m->options.uid;
	fs.tree.gid = m->options.gid;
	fs.tree.umask = m->options.umask;
	fs.ready = ready;
	fs.ready_arg = m;
	fuse_set_log_func(log_fuse);
	tidy_begin(&tidy, repo->store);
	r = session_new(m, &fs);
	if (r == 0) {
		r = serve_session(m, &signals);
		fuse_session_destroy(m->session);
	}
	tidy_end(&tidy);
	fs_fini(&fs);
	log_many_end();
	return r;
}

static int run(struct mount *m)
{
	int code;
	int r = repo_location(m->options.repo, &m->url);

	if (r == 0)
		r = mountpoint_check(
			m->options.mountpoint, url_directory(m->url), &m->path);
	if (r < 0)
		return exit_code(r);
	if (!m->options.foreground) {
		r = daemon_fork(&m->daemon, &code);
		if (r < 0)
			return exit_code(r);
		if (r > 0)
			return code;
	}
	/* no directory is kept from being unmounted or removed */
	if (chdir("/") < 0)
		return exit_code(fail(errno, "/: %m"));
	return exit_code(serve(m));
}

int mount_main(const char *repo, int argc, char **argv)
{
	struct mount m = { .daemon = { -1 } };
	int code, r = options_parse(repo, argc, argv, &m.options);

	if (r < 0)
		return exit_code(r);
	if (m.options.quiet)
		log_set_level(LOG_LEVEL_WARN);
	if (m.options.verbose)
		/* NOLINTNEXTLINE(concurrency-mt-unsafe): the only thread */
		setenv("HIVEFS_DEBUG", "all", 0);
	if (m.options.help) {
		fputs(options_help, stdout);
		code = EXIT_OK;
	} else {
		code = run(&m);
	}
	free(m.url);
	free(m.path);
	options_fini(&m.options);
	return code;
}
