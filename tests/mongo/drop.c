/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drop URI: drops the database that it names. For tests that made one.
 */
#include "tests/unit/mongo_help.h"

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	help_drop(argv[1]);
	return 0;
}
