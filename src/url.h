/* SPDX-License-Identifier: Apache-2.0 */
/*
 * url - a repository's location as others may see it: in mount tables, status
 * and messages.
 */
#ifndef HIVEFS_URL_H
#define HIVEFS_URL_H

/* URL without user, password and options; owned, NULL if there is no memory. */
char *url_public(const char *url);

/* The directory an embedded repository is in, or NULL; borrowed from URL. */
const char *url_directory(const char *url);

#endif
