/* SPDX-License-Identifier: Apache-2.0 */
#include "src/exit.h"

#include <errno.h>
#include <signal.h>

int exit_code(int err)
{
	switch (-err) {
	case 0:
		return EXIT_OK;
	case EINVAL:
		return EXIT_USAGE;
	case EBADMSG:
		return EXIT_DAMAGE;
	case ENOMEDIUM:
		return EXIT_NO_REPOSITORY;
	case EBUSY:
		return EXIT_BUSY;
	case EKEYREJECTED:
		return EXIT_WRONG_KEY;
	case ENOSPC:
	case EDQUOT:
		return EXIT_NO_SPACE;
	case EPERM:
		return EXIT_HOLD;
	case EPROTONOSUPPORT:
		return EXIT_FORMAT;
	case ECANCELED:
		return EXIT_SIGNAL + SIGINT;
	default:
		return EXIT_ERROR;
	}
}
