/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/packed.h"

#include "formats/qcow2.h"
#include "formats/vdi.h"
#include "formats/vhd.h"
#include "formats/vhdx.h"
#include "formats/vmdk_sparse.h"
#include "src/bytes.h"

static const struct packed_format *const rows[] = {
	&packed_vmdk,
	&packed_vhd,
	&packed_vhdx,
	&packed_vdi,
	&packed_qcow2,
};

const struct packed_format *packed_at(size_t i)
{
	return i < N_ELEMS(rows) ? rows[i] : NULL;
}
