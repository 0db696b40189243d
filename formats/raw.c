/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/raw.h"

static int raw_layout(uint64_t disk, struct layout *ret)
{
	*ret = (struct layout){ .disk = disk };
	return 0;
}

const struct format format_raw = {
	.name = "raw",
	.extension = "img",
	.layout = raw_layout,
};
