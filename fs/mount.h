/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount - `hivefs [REPOSITORY] MOUNTPOINT [-o OPTIONS]`: from the command line
 * to a served file system and back.
 */
#ifndef HIVEFS_MOUNT_H
#define HIVEFS_MOUNT_H

/*
 * The whole command; ARGV[0] is the program or the verb `mount`. REPO is what
 * -r said before the verb, or NULL: then the environment or the default
 * decides, as for every verb. Returns the exit code (src/exit.h). Without -f
 * the parent returns only once the mount serves, or with why it does not.
 */
int mount_main(const char *repo, int argc, char **argv);

#endif
