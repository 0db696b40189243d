/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/format.h"

#include <string.h>

#include "formats/qcow2.h"
#include "formats/raw.h"
#include "formats/vdi.h"
#include "formats/vhd.h"
#include "formats/vhdx.h"
#include "formats/vmdk.h"
#include "src/bytes.h"

static const struct format *const formats[] = {
	&format_raw,
	&format_vmdk,
	&format_vmdk_flat,
	&format_vhd,
	&format_vhdx,
	&format_vdi,
	&format_qcow2,
};

const struct format *format_at(size_t i)
{
	return i < N_ELEMS(formats) ? formats[i] : NULL;
}

const struct format *format_find(const char *name)
{
	for (size_t i = 0; i < N_ELEMS(formats); i++) {
		const struct format *f = formats[i];

		if (!f->same_as && (strcmp(f->name, name) == 0 ||
					   strcmp(f->ending + 1, name) == 0))
			return f;
	}
	return NULL;
}
