/* SPDX-License-Identifier: Apache-2.0 */
#include "src/text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

char *hex_encode(const void *data, size_t len, char *buf)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++) {
		buf[2 * i] = digits[p[i] >> 4];
		buf[2 * i + 1] = digits[p[i] & 15];
	}
	buf[2 * len] = 0;
	return buf;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
				      : -1;
}

bool hex_decode(const char *text, void *ret, size_t len)
{
	uint8_t *p = ret;

	for (size_t i = 0; i < len; i++) {
		int a = hex_digit(text[2 * i]);
		int b = a < 0 ? -1 : hex_digit(text[2 * i + 1]);

		if (b < 0)
			return false;
		p[i] = (uint8_t)(a << 4 | b);
	}
	return true;
}

void text_clean(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++)
		/* 0x80 to 0x9f are some, too; 0xc2 and one of them in UTF-8 */
		if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			p[0] = p[1] = '?';
		else if (*p < 0x20 || *p == 0x7f)
			*p = '?';
}

char *size_text(uint64_t bytes, char buf[16])
{
	static const char units[][4] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB",
		"EiB" };
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1023.5 && u + 1 < sizeof(units) / sizeof(units[0])) {
		v /= 1024;
		u++;
	}
	snprintf(buf, 16, "%.*f %s",
		u == 0 || v >= 99.95 ? 0
		: v >= 9.995         ? 1
				     : 2,
		v, units[u]);
	return buf;
}

int size_parse(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGTPE";
	double v;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	v = strtod(text, &end);
	if (*end) {
		const char *u = strchr(units, toupper((unsigned char)*end));

		if (u) {
			v = ldexp(v, 10 * (int)(u - units + 1));
			end++;
			if (*end == 'i')
				end++;
		}
		if (*end == 'B')
			end++;
	}
	if (*end || !(v < 0x1p63) || v != floor(v))
		return -EINVAL;
	*ret = (uint64_t)v;
	return 0;
}

/* COLON is ":" or "", between hours, minutes and seconds. */
static char *time_format(int64_t seconds, const char *colon, char buf[32])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	/* years of five digits have no place in a name: never parsed back */
	if (!gmtime_r(&t, &tm) || tm.tm_year > 9999 - 1900 || tm.tm_year < 0)
		snprintf(buf, 32, "@%lld", (long long)seconds);
	else
		snprintf(buf, 32, "%04d-%02d-%02dT%02d%s%02d%s%02dZ",
			tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
			tm.tm_hour, colon, tm.tm_min, colon, tm.tm_sec);
	return buf;
}

char *time_text(int64_t seconds, char buf[32])
{
	return time_format(seconds, ":", buf);
}

char *time_name(int64_t seconds, char buf[32])
{
	return time_format(seconds, "", buf);
}

static bool scan_time(const char *text, struct tm *tm, int *ret_len)
{
	*ret_len = 0;
	/* every field's width is bounded: nothing here can overflow */
	/* NOLINTNEXTLINE(cert-err34-c): bounded widths */
	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ%n", &tm->tm_year,
		    &tm->tm_mon, &tm->tm_mday, &tm->tm_hour, &tm->tm_min,
		    &tm->tm_sec, ret_len) == 6 &&
		*ret_len)
		return true;
	*ret_len = 0;
	/* NOLINTNEXTLINE(cert-err34-c): bounded widths */
	return sscanf(text, "%4d-%2d-%2dT%2d%2d%2dZ%n", &tm->tm_year,
		       &tm->tm_mon, &tm->tm_mday, &tm->tm_hour, &tm->tm_min,
		       &tm->tm_sec, ret_len) == 6 &&
	       *ret_len;
}

int time_parse(const char *text, int64_t *ret, const char **ret_end)
{
	struct tm tm = { 0 };
	struct tm back;
	time_t t;
	int len;

	if (!scan_time(text, &tm, &len))
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	back = tm;
	t = timegm(&back);
	/* timegm() normalises: 31 April is refused, not taken for 1 May */
	if (back.tm_mday != tm.tm_mday || back.tm_mon != tm.tm_mon ||
		back.tm_hour != tm.tm_hour || back.tm_min != tm.tm_min ||
		back.tm_sec != tm.tm_sec)
		return -EINVAL;
	*ret = t;
	*ret_end = text + len;
	return 0;
}

bool name_ok(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz"
				"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	return n >= 1 && n <= 128 && name[n] == 0 &&
	       isalnum((unsigned char)name[0]);
}

int duration_parse(const char *text, int64_t *ret)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 },
		{ 'w', 7 * 86400 }, { 'y', 365 * 86400 } };
	size_t digits = strspn(text, "0123456789");
	int64_t n;

	if (digits < 1 || digits > 9 || strlen(text) != digits + 1)
		return -EINVAL;
	n = (int64_t)strtoull(text, NULL, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (units[i].unit == text[digits]) {
			*ret = n * units[i].seconds;
			return 0;
		}
	return -EINVAL;
}
