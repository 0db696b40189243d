/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "fs/request.h"

#include <errno.h>

void reply_status(fuse_req_t req, int r)
{
	switch (-r) {
	case EBADMSG:
	case ENOMEDIUM:
	case EPROTONOSUPPORT:
		fuse_reply_err(req, EIO);
		break;
	default:
		fuse_reply_err(req, -r);
	}
}
