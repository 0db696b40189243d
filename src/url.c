/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "src/url.h"

#include <stdio.h>
#include <string.h>

char *url_public(const char *url)
{
	const char *authority = strstr(url, "://");
	size_t len, user = 0;
	char *text;

	if (!authority)
		return strdup(url);
	authority += 3;
	len = strcspn(authority, "/?#");
	/* a password may hold an @ that should have been escaped */
	for (size_t i = 0; i < len; i++)
		if (authority[i] == '@')
			user = i + 1;
	if (asprintf(&text, "%.*s%s", (int)(authority - url), url,
		    authority + user) < 0)
		return NULL;
	/* options of a server's may be passwords, too */
	text[strcspn(text, "?")] = 0;
	return text;
}

const char *url_directory(const char *url)
{
	if (strncmp(url, "file://", 7) == 0)
		return url + 7;
	return strstr(url, "://") ? NULL : url;
}
