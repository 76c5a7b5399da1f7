/* SPDX-License-Identifier: MIT */
/* base/list: nodes keep their order, and know whether they are on a list. */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

struct letter {
	char name;
	struct list_node node;
};

struct rig {
	struct list list, other;
	struct letter letters[6]; /* 'a' .. 'f' */
};

static void rig_init(struct rig *rig)
{
	list_init(&rig->list);
	list_init(&rig->other);
	for (int i = 0; i < 6; i++) {
		rig->letters[i].name = (char)('a' + i);
		list_node_init(&rig->letters[i].node);
	}
}

static struct list_node *node(struct rig *rig, char name)
{
	return &rig->letters[name - 'a'].node;
}

static char name_of(struct list_node *n)
{
	return container_of(n, struct letter, node)->name;
}

/* Read forwards, and check that backwards is the reverse. */
static void assert_list(struct list *l, const char *want)
{
	char got[8] = "";
	size_t len = 0;
	list_for_each (n, l)
		got[len++] = name_of(n);
	assert_string_equal(got, want);
	for (struct list_node *n = l->head.prev; n != &l->head; n = n->prev)
		assert_int_equal(name_of(n), want[--len]);
	assert_int_equal(len, 0);
}

static void a_new_list_is_empty(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	assert_true(list_empty(&rig.list));
	assert_null(list_first(&rig.list));
	assert_null(list_pop_front(&rig.list));
}

static void nodes_come_in_the_order_of_their_pushes(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	list_push_back(&rig.list, node(&rig, 'b'));
	list_push_back(&rig.list, node(&rig, 'd'));
	list_push_front(&rig.list, node(&rig, 'a'));
	list_insert_before(node(&rig, 'd'), node(&rig, 'c'));
	assert_list(&rig.list, "abcd");
}

static void a_node_knows_whether_it_is_on_a_list(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	assert_false(list_linked(node(&rig, 'a')));
	list_push_back(&rig.list, node(&rig, 'a'));
	assert_true(list_linked(node(&rig, 'a')));
	list_remove(node(&rig, 'a'));
	assert_false(list_linked(node(&rig, 'a')));
	assert_true(list_empty(&rig.list));
}

static void pop_takes_the_front(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	list_push_back(&rig.list, node(&rig, 'a'));
	list_push_back(&rig.list, node(&rig, 'b'));
	struct list_node *n = list_pop_front(&rig.list);
	assert_int_equal(name_of(n), 'a');
	assert_false(list_linked(n));
	assert_list(&rig.list, "b");
}

static void a_node_leaves_from_the_middle(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	for (char c = 'a'; c <= 'c'; c++)
		list_push_back(&rig.list, node(&rig, c));
	list_remove(node(&rig, 'b'));
	assert_list(&rig.list, "ac");
}

static void a_splice_moves_all_nodes_behind(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	list_push_back(&rig.list, node(&rig, 'a'));
	list_push_back(&rig.other, node(&rig, 'b'));
	list_push_back(&rig.other, node(&rig, 'c'));
	list_splice_back(&rig.list, &rig.other);
	assert_list(&rig.list, "abc");
	assert_list(&rig.other, "");
	list_splice_back(&rig.list, &rig.other);
	assert_list(&rig.list, "abc");
	list_splice_back(&rig.other, &rig.list);
	assert_list(&rig.other, "abc");
}

static void a_safe_walk_may_remove_its_node(void **unused)
{
	(void)unused;
	struct rig rig;
	rig_init(&rig);
	for (char c = 'a'; c <= 'f'; c++)
		list_push_back(&rig.list, node(&rig, c));
	list_for_each_safe (n, &rig.list) {
		if (strchr("acf", name_of(n)))
			list_remove(n);
	}
	assert_list(&rig.list, "bde");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_list_is_empty),
		cmocka_unit_test(nodes_come_in_the_order_of_their_pushes),
		cmocka_unit_test(a_node_knows_whether_it_is_on_a_list),
		cmocka_unit_test(pop_takes_the_front),
		cmocka_unit_test(a_node_leaves_from_the_middle),
		cmocka_unit_test(a_splice_moves_all_nodes_behind),
		cmocka_unit_test(a_safe_walk_may_remove_its_node),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
