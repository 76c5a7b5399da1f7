/* SPDX-License-Identifier: MIT */
/* Faults as text: what is understood, what is refused and why, and that it can be written back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "io/fault_text.h"

static struct fault_request parsed(const char *text)
{
	struct fault_request r;
	struct errmsg why = {""};
	if (fault_parse(text, &r, &why) < 0)
		fail_msg("%s: %s", text, why.text);
	return r;
}

static void every_word_is_understood(void **unused)
{
	(void)unused;
	struct fault_request r =
		parsed("read-error member=2 area=data offset=1M len=64K count=3 p=0.5 skip=2");
	assert_false(r.mutate);
	assert_int_equal(r.fault.kind, FAULT_READ_ERROR);
	assert_int_equal(r.member, 2);
	assert_string_equal(r.area, "data");
	assert_int_equal(r.fault.offset_bytes, 1 << 20);
	assert_int_equal(r.fault.len_bytes, 65536);
	assert_int_equal(r.fault.count, 3);
	assert_int_equal(r.fault.per_mille, 500);
	assert_int_equal(r.fault.skip, 2);
	r = parsed("  latency\tmember=1 latency=20ms\n");
	assert_int_equal(r.fault.kind, FAULT_LATENCY);
	assert_int_equal(r.fault.latency_ns, 20000000);
	assert_int_equal(r.fault.per_mille, 1000);
	r = parsed("bit-flip file=/db/x offset=4096");
	assert_string_equal(r.file, "/db/x");
	assert_true(r.has_offset && !r.has_len);
	assert_int_equal(r.member, -1);
	r = parsed("mutate file=/x write=3 offset=100 xor=ff at=data");
	assert_true(r.mutate && r.at_data);
	assert_int_equal(r.write, 3);
	assert_int_equal(r.xor_byte, 0xff);
}

static void what_is_written_is_what_was_read(void **unused)
{
	(void)unused;
	static const char *const texts[] = {"read-error", "power-cut skip=100",
		"read-error member=2 area=data offset=1M len=64K skip=2 count=3 p=0.5",
		"latency member=1 latency=20ms", "latency latency=1500us",
		"bit-flip file=/db/x offset=4K len=1", "gone member=0", "hang area=journal count=1",
		"mutate file=/x offset=100 write=3 xor=ff",
		"mutate file=/x len=4K write=1 xor=01 at=data"};
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char out[FAULT_TEXT_MAX];
		struct fault_request r = parsed(texts[i]);
		assert_int_equal(fault_format(&r, out, sizeof(out)), strlen(texts[i]));
		assert_string_equal(out, texts[i]);
	}
	char small[8];
	struct fault_request r = parsed("latency latency=1500us");
	assert_int_equal(fault_format(&r, small, sizeof(small)), 22);
	assert_string_equal(small, "latency");
}

static void every_kind_is_a_first_word(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < FAULT_KINDS; i++) {
		char text[64];
		snprintf(text, sizeof(text), "%s%s", fault_kind_name((enum fault_kind)i),
			i == FAULT_LATENCY ? " latency=1ms" : "");
		assert_int_equal(parsed(text).fault.kind, i);
	}
}

static void what_is_wrong_is_named(void **unused)
{
	(void)unused;
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "begins with its kind"},
		{"   \n", "begins with its kind"},
		{"reed-error", "'reed-error'"},
		{"read-error membre=1", "'membre'"},
		{"read-error member", "member= takes"},
		{"read-error member=x", "'x'"},
		{"read-error member=-1", "'-1'"},
		{"read-error member=256", "'256'"},
		{"read-error area=moon", "'moon'"},
		{"read-error file=x", "'x'"},
		{"read-error offset=4k", "'4k'"},
		{"read-error offset=99999999999999999999", "offset= takes"},
		{"read-error offset=99999999999T", "offset= takes"},
		{"read-error len=0", "'0'"},
		{"read-error p=0", "'0'"},
		{"read-error p=1.5", "'1.5'"},
		{"read-error p=nan", "'nan'"},
		{"read-error count=1x", "'1x'"},
		{"read-error latency=1ms", "no 'latency'"},
		{"read-error xor=ff", "no 'xor'"},
		{"read-error area=data file=/x", "not both"},
		{"latency", "needs latency="},
		{"latency latency=20", "'20'"},
		{"latency latency=0ms", "'0ms'"},
		{"mutate file=/x write=1", "needs file="},
		{"mutate file=/x xor=1 write=0", "'0'"},
		{"mutate file=/x write=1 xor=100", "'100'"},
		{"mutate file=/x write=1 xor=0", "'0'"},
		{"mutate file=/x write=1 xor=1 at=guard", "'guard'"},
		{"mutate member=1", "no 'member'"},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fault_request r;
		struct errmsg why = {""};
		assert_int_equal(fault_parse(cases[i].text, &r, &why), -EINVAL);
		if (!strstr(why.text, cases[i].why))
			fail_msg("'%s': %s", cases[i].text, why.text);
	}
}

static void a_line_that_is_too_long_is_refused(void **unused)
{
	(void)unused;
	char text[FAULT_TEXT_MAX + 1];
	struct fault_request r;
	memset(text, 'x', FAULT_TEXT_MAX);
	text[FAULT_TEXT_MAX] = '\0';
	assert_int_equal(fault_parse(text, &r, NULL), -EINVAL);
	memcpy(text, "gone file=/", 11);
	text[FAULT_TEXT_MAX - 1] = '\0';
	assert_int_equal(fault_parse(text, &r, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_word_is_understood),
		cmocka_unit_test(what_is_written_is_what_was_read),
		cmocka_unit_test(every_kind_is_a_first_word),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(a_line_that_is_too_long_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
