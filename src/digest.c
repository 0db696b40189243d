/* SPDX-License-Identifier: Apache-2.0 */
#include "src/digest.h"

#include <assert.h>
#include <openssl/evp.h>
#include <pthread.h>

#include "src/text.h"

static EVP_MD *sha256;
static pthread_key_t context_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void context_free(void *ctx)
{
	EVP_MD_CTX_free(ctx);
}

static void fetch(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	assert(sha256);
	if (pthread_key_create(&context_key, context_free) != 0)
		abort();
}

/* A key's destructor, unlike a _Thread_local, frees it when its thread ends. */
static EVP_MD_CTX *context(void)
{
	EVP_MD_CTX *ctx;

	pthread_once(&once, fetch);
	ctx = pthread_getspecific(context_key);
	if (!ctx) {
		ctx = EVP_MD_CTX_new();
		assert(ctx);
		pthread_setspecific(context_key, ctx);
	}
	return ctx;
}

struct digest digest_of(const void *data, size_t len)
{
	EVP_MD_CTX *ctx = context();
	struct digest ret;
	int ok;

	/* these fail only when OpenSSL itself is broken: no digest, no backup
	 */
	ok = EVP_DigestInit_ex2(ctx, sha256, NULL) &&
	     EVP_DigestUpdate(ctx, data, len) &&
	     EVP_DigestFinal_ex(ctx, ret.b, NULL);
	assert(ok);
	return ret;
}

char *digest_hex(const struct digest *d, char buf[DIGEST_HEX])
{
	return hex_encode(d->b, sizeof(d->b), buf);
}
