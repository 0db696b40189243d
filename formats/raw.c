/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/raw.h"

static int raw_layout(uint64_t guest, uint32_t sector_size, struct layout *ret)
{
	*ret = (struct layout){
		.guest = guest, .sector_size = sector_size, .disk = guest
	};
	return 0;
}

const struct format format_raw = {
	.number = 0,
	.name = "raw",
	.ending = ".img",
	.layout = raw_layout,
};
