/* SPDX-License-Identifier: MIT */
/* Intrusive doubly linked list. A node belongs to at most one list; nothing is allocated.
 * No locking: whoever owns the list owns its nodes. */
#ifndef STABLEFS_BASE_LIST_H
#define STABLEFS_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
	struct list_node *prev, *next;
};

/* A list is a node that is linked to itself when empty. */
struct list {
	struct list_node head;
};

#define container_of(ptr, type, field) ((type *)((char *)(ptr)-offsetof(type, field)))

static inline void list_init(struct list *l)
{
	l->head.prev = l->head.next = &l->head;
}

static inline void list_node_init(struct list_node *n)
{
	n->prev = n->next = n;
}

/* True where @n is on a list; needs list_node_init() or a former list_remove(). */
static inline bool list_linked(const struct list_node *n)
{
	return n->next != n;
}

static inline bool list_empty(const struct list *l)
{
	return l->head.next == &l->head;
}

static inline void list_insert_before(struct list_node *at, struct list_node *n)
{
	n->prev = at->prev;
	n->next = at;
	at->prev->next = n;
	at->prev = n;
}

static inline void list_push_back(struct list *l, struct list_node *n)
{
	list_insert_before(&l->head, n);
}

static inline void list_push_front(struct list *l, struct list_node *n)
{
	list_insert_before(l->head.next, n);
}

static inline void list_remove(struct list_node *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_node_init(n);
}

static inline struct list_node *list_first(struct list *l)
{
	return list_empty(l) ? NULL : l->head.next;
}

static inline struct list_node *list_pop_front(struct list *l)
{
	struct list_node *n = list_first(l);
	if (n)
		list_remove(n);
	return n;
}

/* Move all nodes of @from, in order, behind those of @to. */
static inline void list_splice_back(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	struct list_node *first = from->head.next, *last = from->head.prev;
	first->prev = to->head.prev;
	to->head.prev->next = first;
	last->next = &to->head;
	to->head.prev = last;
	list_init(from);
}

#define list_for_each(n, l) for (struct list_node *n = (l)->head.next; n != &(l)->head; n = n->next)

/* The same where the body may remove @n. */
#define list_for_each_safe(n, l)                                                                   \
	for (struct list_node *n = (l)->head.next, *n##_next = n->next; n != &(l)->head;           \
		n = n##_next, n##_next = n->next)

#endif
