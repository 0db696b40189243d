/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/format.h"

#include "formats/raw.h"
#include "src/bytes.h"

static const struct format *const formats[] = {
	&format_raw,
};

const struct format *format_at(size_t i)
{
	return i < N_ELEMS(formats) ? formats[i] : NULL;
}
