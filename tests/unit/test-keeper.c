/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guards who writes to a clone against waiting for a fold that never gets
 * anywhere: it is refused, says so once, and is let in again when folding
 * works. What a disk has unfolded, and what a fold does, is up to the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "src/log.h" /* before cmocka.h, which has a macro fail() */

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "repo/keeper.h"

#define MIB (UINT64_C(1) << 20)
#define MOST (600 * MIB) /* more than may wait */

static _Atomic uint64_t unfolded;
static _Atomic int fold_result;
static _Atomic bool fold_helps;
static _Atomic unsigned n_folds;
static _Atomic unsigned n_errors, n_again;

/* In the place of repo/live.c's. */
struct live_load live_load(struct live *l)
{
	(void)l;
	return (struct live_load){ .stream_bytes = unfolded };
}

const char *live_name(const struct live *l)
{
	(void)l;
	return "side/disk0";
}

int live_sync(struct live *l)
{
	(void)l;
	return 0;
}

void live_flush(struct live *l)
{
	(void)l;
}

static int fold_it(void *arg)
{
	struct keeper *k = arg;
	int r = fold_result;

	n_folds++;
	if (r == -ENOMEM) /* before it began */
		return r;
	keeper_fold_begin(k);
	if (r == 0 && fold_helps)
		unfolded = 0;
	keeper_fold_end(k, r);
	return r;
}

static void sink(enum log_level level, const char *text)
{
	n_errors += level == LOG_LEVEL_ERROR &&
		    strstr(text, "side/disk0: 600 MiB wait") != NULL;
	n_again += strstr(text, "is written to again") != NULL;
}

static void begin(struct keeper *k, struct live **disk)
{
	*k = (struct keeper){
		.disks = disk, .n_disks = 1, .fold = fold_it, .arg = k
	};
	unfolded = MOST;
	n_folds = n_errors = n_again = 0;
	log_set_sink(sink);
	assert_int_equal(keeper_start(k), 0);
}

static void end(struct keeper *k)
{
	keeper_stop(k);
	log_set_sink(NULL);
}

/* Refused with WANT whatever the number of writes, said once, then let in. */
static void refused(int result, bool helps, int want)
{
	struct live *disk = NULL;
	struct keeper k;

	fold_result = result;
	fold_helps = helps;
	begin(&k, &disk);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(keeper_admit(&k), want);
	assert_int_equal(n_errors, 1);
	assert_true(n_folds >= 1 && n_folds < 10);
	/* below the bound nobody is, whether folding works or not */
	unfolded = 300 * MIB;
	assert_int_equal(keeper_admit(&k), 0);
	/* by whoever folds */
	fold_result = 0;
	fold_helps = true;
	unfolded = MOST;
	assert_int_equal(fold_it(&k), 0);
	assert_int_equal(n_again, 1);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(keeper_admit(&k), 0);
	end(&k);
}

static void fails(void **state)
{
	(void)state;
	refused(-EIO, false, -EIO);
	refused(-EBADMSG, false, -EIO);
	refused(-ENOSPC, false, -ENOSPC);
}

static void fails_before_it_begins(void **state)
{
	(void)state;
	refused(-ENOMEM, false, -EIO);
}

static void lets_go_of_nothing(void **state)
{
	(void)state;
	refused(0, false, -EIO);
}

/* The keeper itself tries again, after a while. */
static void works_again(void **state)
{
	struct live *disk = NULL;
	struct keeper k;
	int r;

	(void)state;
	fold_result = -EIO;
	fold_helps = true;
	begin(&k, &disk);
	assert_int_equal(keeper_admit(&k), -EIO);
	fold_result = 0;
	do
		r = keeper_admit(&k);
	while (r == -EIO);
	assert_int_equal(r, 0);
	end(&k); /* which waits for the fold that let us in */
	assert_int_equal(n_again, 1);
	/* once more by a write that met the end of the fold */
	assert_true(n_errors == 1 || n_errors == 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fails),
		cmocka_unit_test(fails_before_it_begins),
		cmocka_unit_test(lets_go_of_nothing),
		cmocka_unit_test(works_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
